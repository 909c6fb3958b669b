"""What the plan for one process looks at."""

import pytest

from libswap.elf.image import Image
from libswap.elf.link_map import LinkMap
from libswap.linux.memory import Range
from libswap.live.library import Library
from libswap.live.module import FileKey, LibraryCache, Module
from libswap.live.outlook import _earlier_callers
from libswap.live.registry import CopyRecord, Family, Place, Record
from libswap.live.subject import Subject
from libswap.process.identity import Identity
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

# Nameless code calls f directly and goes on to use a register that this f leaves alone.
SOURCE = """
#define FUNCTION(name, code) \\
    __asm__(".type " #name ",@function\\n" #name ": .cfi_startproc\\n" code \\
            "\\n.cfi_endproc\\n.size " #name ", . - " #name "\\n");
__asm__(".globl f\\n");
FUNCTION(f, CALLED)
FUNCTION(nameless, AROUND)
void nameless(void);
void (*give(void))(void) { return nameless; }
"""
SPARING = '"endbr64; lea (%rdi,%rdi,2), %eax; ret"'
FREE = '"endbr64; lea (%rdi,%rdi,2), %eax; xor %edi, %edi; ret"'
RELIANT = '"sub $8, %rsp; call f; add %edi, %eax; add $8, %rsp; ret"'
CAREFUL = '"sub $8, %rsp; call f; add $8, %rsp; ret"'


def library(compiler: Compiler, called: str, around: str) -> Library:
    source = SOURCE.replace("CALLED", called).replace("AROUND", around)
    return Library(Image.open(compiler.library(source, "-O2", "-s", "-Wl,-Bsymbolic")))


def module(facts: Library, base: int) -> Module:
    link = LinkMap(base + 1, base, "/lib/libx.so", base, 0)
    return Module(link, Range(base, base + 0x10000), FileKey(0, 0, base), "/lib/libx.so", facts)


def words(copies: tuple[Library, ...], new: Library, *, recorded: bool = True) -> list[str]:
    """What is found when the last of these copies is in use and the new file is to be used."""
    modules = tuple(module(facts, 0x100000 * (i + 1)) for i, facts in enumerate(copies))
    records = tuple(CopyRecord(m.link.address, m.base, m.path, m.facts.build_id) for m in modules)
    family = Family(records if recorded else records[-1:], len(records) - 1 if recorded else 0)
    place = Place(0, 1 << 16, 1, Record((family,)))
    here = Subject(Identity(1, 1), None, (), modules, place, LibraryCache())  # type: ignore[arg-type]
    return [f.word for f in _earlier_callers(here, modules[-1], new)]


def test_code_of_a_copy_before_the_last_may_miss_the_function_that_it_knew(
    compiler: Compiler,
) -> None:
    first = library(compiler, SPARING, RELIANT)
    second, third = (library(compiler, f, CAREFUL) for f in (SPARING, FREE))
    assert words((first, second), third) == ["internal-caller"]
    assert words((second,), third) == [], "the copy in use is looked at by itself"
    assert words((first, second), third, recorded=False) == [], "it was never swapped"


def test_earlier_code_that_relies_on_nothing_is_no_finding(compiler: Compiler) -> None:
    careful = library(compiler, SPARING, CAREFUL)
    assert (
        words((careful, library(compiler, SPARING, RELIANT)), library(compiler, FREE, CAREFUL))
        == []
    )


def test_the_way_back_to_an_earlier_copy_calls_its_own_functions(compiler: Compiler) -> None:
    first = library(compiler, SPARING, RELIANT)
    second = library(compiler, FREE, CAREFUL)
    assert words((first, second), first) == []
