from dataclasses import replace
from typing import Any

import pytest

from libswap.elf.library import Library
from support.compiler import Compiler
from support.facts import Makes, difference, facts

pytestmark = pytest.mark.compiler


@pytest.fixture(scope="module")
def library(compiler: Compiler) -> Library:
    return Makes(compiler).library("int f;")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ({"soname": "a.so.1"}, {"soname": "a.so.2"}, "soname-changed"),
        ({"soname": "a.so.1"}, {"soname": None}, "soname-lost"),
        ({"soname": None}, {"soname": "a.so.1"}, "soname-gained"),
        ({"os_abi": 0}, {"os_abi": 3}, "os-abi-gnu"),
        ({"os_abi": 0}, {"os_abi": 9}, "os-abi"),
        ({"abi_version": 0}, {"abi_version": 1}, "os-abi"),
        ({"flags": 0}, {"flags": 4}, "machine-flags"),
        ({"needed": ()}, {"needed": ("liba.so",)}, "needed-added"),
        ({"needed": ("liba.so",)}, {"needed": ()}, "needed-removed"),
    ],
)
def test_the_file_as_a_whole(
    library: Library, old: dict[str, Any], new: dict[str, Any], rule: str
) -> None:
    found = difference(replace(library, **old), replace(library, **new))
    assert {name for name, _ in found} == {rule}


def test_a_program_or_an_object_cannot_be_loaded(compiler: Compiler, library: Library) -> None:
    program = facts(compiler.program("int main(void) { return 0; }\n", "-pie", "-fPIE"))
    assert difference(library, program) == {("program", "")}
    fixed = facts(compiler.program("int main(void) { return 0; }\n", "-no-pie"))
    assert difference(library, fixed) == {("file-type", "")}
    part = facts(compiler.object("int f;\n"))
    assert difference(library, part) == {("file-type", "")}


def test_a_file_without_a_dynamic_section_cannot_be_loaded(library: Library) -> None:
    debug = replace(library, dynamic=False, exports={})
    assert difference(library, debug) == {("file-type", "")}


def test_compressed_instructions_of_riscv_mix_with_plain_ones(library: Library) -> None:
    target = replace(library.target, machine=243)
    old, new = (replace(library, target=target, flags=flags) for flags in (4, 5))
    assert difference(old, new) == set()
    assert difference(old, replace(new, flags=1)) == {("machine-flags", "")}
