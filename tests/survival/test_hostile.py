"""Files that are made to be slow, to be huge or to be read past their end."""

import random
import struct
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from libswap.elf.format import Segment, SegmentFlags, SegmentType
from libswap.elf.frames import frames
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf
from libswap.linux.budget import Budget, TooLong
from libswap.live.library import Library
from libswap.live.outlook import redirects_of
from libswap.live.writable import initial, nameless_ranges
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code
from libswap.survival.counterparts import counterparts
from libswap.survival.examination import examine
from libswap.survival.forms import Forms
from libswap.survival.layout import Layout, Side
from libswap.survival.roles import Roles
from libswap.survival.run import profile
from libswap.survival.sources import Source
from libswap.survival.steps import Steps
from libswap.survival.texts import Texts
from support.compiler import Compiler

pytestmark = pytest.mark.compiler


def image(data: bytes) -> Image:
    return Image(data, "hostile")


def library(compiler: Compiler, *flags: str) -> bytes:
    return compiler.library("survival/store.c", "-O2", *flags).read_bytes()


def test_a_damaged_file_is_refused_or_examined_and_nothing_else(compiler: Compiler) -> None:
    old, new = library(compiler), library(compiler, "-DADDED")
    chance = random.Random(5)
    begun = time.process_time()
    for _ in range(150):
        data = bytearray(new)
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            examine(Source(image(old)), Source(image(bytes(data))), seconds=5)
        except InvalidElf:
            continue
        assert time.process_time() - begun < 100


def test_a_damaged_file_never_makes_data_be_carried_out_of_the_data(compiler: Compiler) -> None:
    old = library(compiler, "-s")
    places = nameless_ranges(Library(image(old)))
    chance = random.Random(7)
    for _ in range(60):
        data = bytearray(old)
        for _ in range(chance.choice((1, 8, 64))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            other = Library(image(bytes(data)))
            there = nameless_ranges(other)
            found = counterparts(
                Source(image(old)), Source(other.image), places, there, seconds=5
            )  # fmt: skip
        except InvalidElf:
            continue
        for s in found.stretches:
            assert any(s.old in r and s.old + s.size <= r.end for r in places)
            assert any(s.new in r and s.new + s.size <= r.end for r in there)


def test_unwind_tables_that_lie_give_fewer_functions(compiler: Compiler) -> None:
    whole = library(compiler)
    place = next(s for s in image(whole).sections if s.name == ".eh_frame")
    count = len(frames(image(whole)))
    assert count > 5
    for word in (0, 1, 0xFFFFFFF0, 0xFFFFFFFF):
        data = bytearray(whole)
        struct.pack_into("<I", data, place.offset, word)
        assert len(frames(image(bytes(data)))) <= count


def test_a_function_of_nothing_but_jumps_is_bounded(compiler: Compiler) -> None:
    body = "".join(
        f'asm volatile("jz 1f\\n mov %rax, {8 * i}(%rsp)\\n 1:\\n");' for i in range(3000)
    )
    text = f"void many(long *p) {{ {body} }}\n"
    code = Code(image(compiler.library(text, "-O2").read_bytes()))
    function = code.own["many"]
    begun = time.process_time()
    found = profile(code, function, Bodies(code, Forms(Steps())).of(function).steps)
    assert len(found.accesses) < 10
    assert time.process_time() - begun < 20


def test_code_that_is_no_code_ends_the_function() -> None:
    form, _ = Forms(Steps()).of(b"\x55\x06\x06\x06")
    assert form.read == form.count == len(form.steps(0x1000, ())) == 1


def segments(data: bytearray, count: int) -> list[int]:
    """Where the program headers that are no LOAD and not needed lie in the file."""
    (start,) = struct.unpack_from("<Q", data, 32)
    (number,) = struct.unpack_from("<H", data, 56)
    places = [start + 56 * n for n in range(number)]
    spare = (SegmentType.NOTE, SegmentType.GNU_STACK, SegmentType.GNU_PROPERTY)
    found = [p for p in places if struct.unpack_from("<I", data, p)[0] in spare]
    assert len(found) >= count
    return found[:count]


def header(data: bytearray, place: int, flags: int, offset: int, vaddr: int, size: int) -> None:
    """Make a LOAD segment, as large in memory as in the file."""
    kind = SegmentType.LOAD
    struct.pack_into("<IIQQQQQQ", data, place, kind, flags, offset, vaddr, vaddr, size, size, 1)


def writable(data: bytes) -> tuple[int, Segment]:
    """The place of the header of the writable segment, and what it says."""
    (start,) = struct.unpack_from("<Q", data, 32)
    found = image(data).segments
    return next((start + 56 * n, s) for n, s in enumerate(found)
                if s.type == SegmentType.LOAD and s.flags & SegmentFlags.W)  # fmt: skip


@pytest.mark.parametrize("how", ["endless", "late", "overlapping"])
def test_writable_segments_that_no_linker_writes(compiler: Compiler, how: str) -> None:
    data = bytearray(library(compiler, "-s"))
    place, segment = writable(data)
    if how == "endless":
        struct.pack_into("<Q", data, place + 40, (1 << 64) - 1)
    elif how == "late":
        struct.pack_into("<Q", data, place + 16, (1 << 64) - 1)
    else:
        spare = segments(data, 2)
        for number, one in enumerate(spare):
            start = segment.vaddr + 8 * number
            header(data, one, SegmentFlags.W, segment.offset, start, segment.filesz)
    damaged, whole = Library(image(bytes(data))), Library(image(library(compiler, "-s")))
    for old, new in ((damaged, whole), (whole, damaged)):
        places, others = nameless_ranges(old), nameless_ranges(new)
        for ranges in (places, others):
            assert all(a.end <= b.start for a, b in pairwise(ranges))
        found = counterparts(Source(old.image), Source(new.image), places, others, seconds=20)
        assert found.whole
    endless = max(nameless_ranges(damaged), key=lambda place: place.size)
    if how == "endless":
        with pytest.raises(InvalidElf, match="more than"):
            initial(damaged, endless, 0x1000)


def test_code_in_segments_that_overlap_is_looked_at_once(compiler: Compiler) -> None:
    data = bytearray(library(compiler))
    text = next(s for s in image(bytes(data)).loads if s.flags & SegmentFlags.X)
    alone = set(Texts(Bodies(Code(image(bytes(data))), Forms(Steps()))).gaps)
    for number, one in enumerate(segments(data, 2), 1):
        header(data, one, SegmentFlags.X, text.offset, text.vaddr + number, text.filesz - number)
    texts = Texts(Bodies(Code(image(bytes(data))), Forms(Steps())))
    assert set(texts.gaps) == alone


def test_a_function_that_lies_in_no_code_gets_no_gate(compiler: Compiler) -> None:
    whole = library(compiler)
    data = bytearray(whole)
    _, segment = writable(whole)
    symbol = struct.pack("<Q", Code(image(whole)).own["store_open"].start)
    for section in (".dynsym", ".symtab"):
        found = next(s for s in image(whole).sections if s.name == section)
        for at in range(found.offset, found.offset + found.size, 24):
            if data[at + 8 : at + 16] == symbol:
                struct.pack_into("<Q", data, at + 8, segment.vaddr + 64)
    old, new = Library(image(bytes(data))), Library(image(whole))
    found = redirects_of(old, new)
    assert segment.vaddr + 64 not in {r.old for r in found.redirects}
    assert any("lie in the code" in f.detail for f in found.findings)
    redirects_of(new, old)


class Counted(Budget):
    """One that never ends, and knows how often it was asked."""

    asked = 0

    def check(self) -> None:
        type(self).asked += 1


def test_the_time_is_asked_for_however_much_is_known_already(compiler: Compiler) -> None:
    both = [library(compiler, *flags) for flags in (("-s",), ("-s", "-DADDED"))]
    forms = Forms(Steps())
    texts = [Texts(Bodies(Code(image(data)), forms)) for data in both]
    roles = Roles(*texts)
    roles.find()
    taken = roles.functions.items()
    changed = [pair for pair in taken if not roles.alike(*pair)]
    assert changed
    Roles(*(replace(one, budget=Counted()) for one in texts)).find()
    assert Counted.asked >= len(taken) + 3 * len(changed)  # two rounds, and whether it still holds


def test_the_time_for_what_cannot_be_carried_is_bounded(compiler: Compiler) -> None:
    texts = [Texts(Bodies(Code(image(library(compiler, "-s"))), Forms(Steps()))) for _ in range(2)]
    places = nameless_ranges(Library(image(library(compiler, "-s"))))
    roles = Roles(*texts)
    known = [Layout(roles, *(Side(one, places) for one in texts)) for _ in range(2)]
    assert known[0].doubts
    spent = replace(texts[0], budget=Budget(processor=0))
    late = Layout(roles, Side(spent, places), known[0].new)
    vars(late)["stretches"] = ()
    with pytest.raises(TooLong):
        late.doubts  # noqa: B018  they are found when they are asked for


def test_of_functions_that_begin_alike_few_are_kept_to_compare() -> None:
    forms = Forms(Steps())
    for number in range(40):
        forms.of(bytes(8) + number.to_bytes(2, "little") + b"\xc3")
    [alike] = vars(forms)["_alike"].values()
    assert 1 < len(alike) < 10
