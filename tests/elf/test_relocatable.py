import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libswap.elf.image import Image
from libswap.elf.relocatable import Kind, SectionFlags, read_relocatable
from libswap.errors.patch import InvalidObject
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

SOURCE = """
extern int other(int);
static int calls;
const char *word = "word";
int function(int x) { calls++; return other(x) + calls; }
"""


def test_sections_symbols_and_relocations_are_read_as_the_compiler_wrote_them(
    compiler: Compiler,
) -> None:
    found = read_relocatable(Image.open(compiler.object(SOURCE, "-O2", "-fPIC")))
    text = next(s for s in found.sections.values() if s.flags & SectionFlags.EXECINSTR and s.size)
    named = {found.symbols[r.symbol].name: Kind(r.type) for r in text.relocations}
    assert named["other"] == Kind.PLT32
    assert found.source == "source.c"
    assert all(s.flags & SectionFlags.ALLOC for s in found.sections.values())
    function = next(s for s in found.symbols if s.name == "function")
    assert function.size == text.size


def test_inline_functions_stand_in_a_group_with_their_name(compiler: Compiler) -> None:
    source = "inline int twice(int x) { return 2 * x; }\nint (*p)(int) = twice;\n"
    found = read_relocatable(Image.open(compiler.object(source, cc="g++")))
    assert {s.group for s in found.sections.values()} >= {"", "_Z5twicei"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["-m32"], "32-bit"), (["-flto"], "LTO")],
)
def test_what_no_patch_can_be_made_of_is_called_by_its_name(
    compiler: Compiler, flags: list[str], words: str
) -> None:
    if "-m32" in flags:
        flags = [*flags, "-ffreestanding"]
    with pytest.raises(InvalidObject, match=words):
        read_relocatable(Image.open(compiler.object(SOURCE, *flags)))


def test_a_linked_library_is_no_object(compiler: Compiler) -> None:
    with pytest.raises(InvalidObject, match="linked already"):
        read_relocatable(Image.open(compiler.library("int x;\n")))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 32), count=st.integers(1, 40))
def test_whatever_is_damaged_the_answer_is_an_object_or_a_refusal(
    compiler: Compiler, seed: int, count: int
) -> None:
    data = bytearray(compiler.object(SOURCE, "-O2", "-fPIC").read_bytes())
    chance = random.Random(seed)
    for _ in range(count):
        data[chance.randrange(16, len(data))] = chance.choice(
            (0, 1, 0x7F, 0xFF, chance.randrange(256))
        )
    try:
        found = read_relocatable(Image(bytes(data), "damaged.o"))
    except InvalidObject:
        return
    assert all(r.offset < s.size for s in found.sections.values() for r in s.relocations)
