"""Real libraries, damaged at random: a clear error or a result, never another exception."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libswap.abi.compare import compare
from libswap.elf.debugfile import debug_link
from libswap.elf.dynamic import read_dynamic
from libswap.elf.image import Image
from libswap.elf.library import Library, read_library
from libswap.elf.notes import notes
from libswap.elf.relocations import relocations
from libswap.elf.symbols import static_symbols
from libswap.errors.base import InvalidElf
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

SOURCE = """
#include <stdio.h>
__thread int local;
static int value;
int *pointers[] = { &value, &value, &value };
int count(void) { puts("x"); return local + value; }
int weak(void) __attribute__((weak));
int other(void) { return weak ? weak() : 0; }
"""
VERSIONS = "V1 { global: count; }; V2 { global: other; pointers; } V1;"
FLAGS = (
    [],
    ["-Wl,--hash-style=sysv"],
    ["-Wl,--hash-style=gnu", "-Wl,-z,pack-relative-relocs"],
    ["-Wl,--hash-style=both", "-g", "-Wl,-z,now"],
)
NUMBERS = st.sampled_from(
    [0, 1, 2, 7, 8, 0x10, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF,
     1 << 32, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1]
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), NUMBERS, st.sampled_from("BHIQ")),
    min_size=1, max_size=6,
)  # fmt: skip
MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=range(len(FLAGS)), ids=lambda n: " ".join(FLAGS[n]) or "-")
def library(compiler: Compiler, request: pytest.FixtureRequest) -> bytes:
    script = compiler.text(VERSIONS, ".map")
    flags = [*FLAGS[request.param], f"-Wl,--version-script={script}"]
    return compiler.library(SOURCE, *flags, name="libmutated.so").read_bytes()


@pytest.fixture(scope="module")
def small(compiler: Compiler) -> bytes:
    try:
        return compiler.library("int f;\n", "-m32", "-nostdlib", name="libsmall.so").read_bytes()
    except AssertionError:
        pytest.skip("the compiler has no -m32")


def read_all(data: bytes) -> Library | None:
    """Everything that can be read of a file, each part by itself."""
    try:
        image = Image(data, "mutated")
    except InvalidElf:
        return None
    for read in (lambda: image.sections, lambda: list(notes(image)), lambda: static_symbols(image),
                 lambda: debug_link(image), lambda: _relocations(image)):  # fmt: skip
        with suppress(InvalidElf):
            read()
    try:
        return read_library(image)
    except InvalidElf:
        return None


def _relocations(image: Image) -> int:
    dynamic = read_dynamic(image)
    return sum(1 for _ in relocations(image, dynamic)) if dynamic else 0


def changed(data: bytes, changes: list[tuple[float, int, str]], *, where: int) -> bytes:
    """`data` with numbers written over the first `where` bytes of it."""
    damaged = bytearray(data)
    for place, number, width in changes:
        size = struct.calcsize(width)
        at = int(place * where) & -size
        damaged[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(damaged)


@given(changes=CHANGES)
@MANY
def test_damaged_headers(library: bytes, changes: list[tuple[float, int, str]]) -> None:
    read_all(changed(library, changes, where=64 + 56 * 11))


@given(changes=CHANGES)
@MANY
def test_damaged_tables(library: bytes, changes: list[tuple[float, int, str]]) -> None:
    read_all(changed(library, changes, where=0x800))


@given(changes=CHANGES)
@MANY
def test_a_damaged_dynamic_section(library: bytes, changes: list[tuple[float, int, str]]) -> None:
    image = Image(library, "whole")
    dynamic = next(s for s in image.segments if s.type == 2)
    start, end = dynamic.offset, dynamic.offset + dynamic.filesz
    read_all(library[:start] + changed(library[start:end], changes, where=end - start)
             + library[end:])  # fmt: skip


@given(changes=CHANGES, length=st.floats(0, 1))
@MANY
def test_damaged_and_cut_short(
    library: bytes, changes: list[tuple[float, int, str]], length: float
) -> None:
    read_all(changed(library, changes, where=len(library))[: int(length * len(library))])


@given(changes=CHANGES)
@MANY
def test_a_damaged_32_bit_library(small: bytes, changes: list[tuple[float, int, str]]) -> None:
    read_all(changed(small, changes, where=0x600))


@given(changes=CHANGES)
@MANY
def test_what_can_be_read_can_be_compared(
    library: bytes, changes: list[tuple[float, int, str]]
) -> None:
    old, new = read_all(library), read_all(changed(library, changes, where=0x1000))
    assert old is not None
    if new is not None:
        compare(old, new)
        compare(new, old)


@given(data=st.binary(max_size=300))
@MANY
def test_bytes_behind_the_magic(data: bytes) -> None:
    read_all(b"\x7fELF\x02\x01\x01" + bytes(9) + data)


def test_every_truncation(library: bytes) -> None:
    for length in range(0, len(library), 61):
        read_all(library[:length])


def test_a_program_of_the_machine_cut_anywhere_is_an_error_or_a_result() -> None:
    data = Path("/proc/self/exe").resolve().read_bytes()
    for tenth in range(10):
        read_all(data[: len(data) * tenth // 10])
