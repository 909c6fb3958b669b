"""Files that no linker writes: each a clear error or a result, soon and in little memory."""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libswap.elf.dynamic import MAX_ENTRIES, Tag, read_dynamic
from libswap.elf.format import SectionType, SegmentType
from libswap.elf.image import Image
from libswap.elf.library import read_library
from libswap.elf.notes import notes
from libswap.elf.relocations import relr_places
from libswap.elf.symbols import dynamic_symbols, static_symbols
from libswap.errors.base import InvalidElf
from support.elf_writer import ElfWriter

MEGABYTES = 400
SECONDS = 30  # of our own processor time: what else runs on the machine does not count
"""Far above what any of these takes; what never ends or doubles without end is far above this."""


@contextmanager
def bounded() -> Iterator[None]:
    tracemalloc.start()
    begun = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES << 20
    assert time.process_time() - begun < SECONDS


def refused(writer: ElfWriter, words: str) -> None:
    with bounded(), pytest.raises(InvalidElf, match=words):
        read_library(Image(writer.file(), "hostile"))


@pytest.fixture(params=[(64, True), (64, False), (32, True), (32, False)], ids=str)
def writer(request: pytest.FixtureRequest) -> ElfWriter:
    bits, little = request.param
    return ElfWriter(bits=bits, little=little)


def strings(writer: ElfWriter, data: bytes) -> None:
    writer.table(Tag.STRTAB, data)
    writer.tag(Tag.STRSZ, len(data))


def symbols(writer: ElfWriter, places: list[int]) -> None:
    """A symbol table with names at these places, counted by a DT_HASH."""
    writer.table(Tag.SYMTAB, b"".join(map(writer.symbol, places)))
    writer.table(Tag.HASH, writer.pack("II", 1, len(places)))


def test_what_the_writer_writes_is_read(writer: ElfWriter) -> None:
    strings(writer, b"\0alpha\0beta\0")
    symbols(writer, [0, 1, 7])
    library = read_library(Image(writer.file(), "made"))
    assert {key.name for key in library.exports} == {"alpha", "beta"}
    assert library.target.bits == writer.bits
    assert library.target.little_endian == writer.little


def test_a_count_of_symbols_that_cannot_be_is_refused(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    writer.table(Tag.SYMTAB, writer.symbol(0))
    writer.table(Tag.HASH, writer.pack("II", 1, 0xFFFFFFFF))
    refused(writer, "4294967295 symbols")


def test_a_table_longer_than_the_file_is_refused(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    writer.table(Tag.SYMTAB, writer.symbol(0))
    writer.table(Tag.HASH, writer.pack("II", 1, 100_000))
    refused(writer, "lies in no segment")


def test_an_address_near_the_end_of_the_address_space_does_not_wrap(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    writer.tag(Tag.SYMTAB, (1 << writer.bits) - 8)
    writer.table(Tag.HASH, writer.pack("II", 1, 2))
    refused(writer, "lies in no segment")


def test_symbol_names_that_overlap_are_not_copied_without_end(writer: ElfWriter) -> None:
    size = 1 << 20
    strings(writer, b"a" * (size - 1) + b"\0")
    symbols(writer, list(range(20_000)))
    refused(writer, "names overlap")


def test_section_names_that_overlap_are_not_copied_without_end(writer: ElfWriter) -> None:
    for _ in range(5_000):
        writer.section(0, SectionType.PROGBITS, 0, 0)
    writer.section(0, SectionType.STRTAB, writer.put(b"a" * 200_000), 200_000)
    with bounded(), pytest.raises(InvalidElf, match="section names overlap"):
        _ = Image(writer.file(), "hostile").sections


def test_needed_names_that_overlap_are_cut(writer: ElfWriter) -> None:
    strings(writer, b"a" * (1 << 20))
    for place in range(MAX_ENTRIES - 10):
        writer.tag(Tag.NEEDED, place)
    with bounded():
        needed = read_library(Image(writer.file(), "hostile")).needed
    assert len(needed) == MAX_ENTRIES - 10
    assert max(map(len, needed)) <= 4096


def test_a_dynamic_section_without_end_is_refused(writer: ElfWriter) -> None:
    for _ in range(MAX_ENTRIES + 5):
        writer.tag(Tag.NEEDED, 1)
    refused(writer, "more than 4096 entries")


def definition(writer: ElfWriter, index: int, after: int) -> bytes:
    return writer.pack("HHHHIII", 1, 0, index, 1, 0, 0, after)


def need(writer: ElfWriter, count: int, aux: int, after: int) -> bytes:
    return writer.pack("HHIII", 1, count, 0, aux, after)


def need_name(writer: ElfWriter, after: int) -> bytes:
    return writer.pack("IHHII", 0, 0, 2, 0, after)


def test_version_chains_that_overlap_end(writer: ElfWriter) -> None:
    """65,535 files with 65,535 names each in a few bytes: each record overlaps the next."""
    strings(writer, b"\0")
    symbols(writer, [0])
    writer.table(Tag.VERNEED, need(writer, 0xFFFF, 1, 1) * 20_000)
    writer.tag(Tag.VERNEEDNUM, 0xFFFFFFFF & ((1 << writer.bits) - 1))
    writer.table(Tag.VERSYM, writer.pack("H", 2))
    with bounded(), pytest.raises(InvalidElf):
        read_library(Image(writer.file(), "hostile"))


def test_a_version_chain_with_steps_of_zero_ends(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    symbols(writer, [0])
    writer.table(Tag.VERDEF, definition(writer, 2, 0))
    writer.tag(Tag.VERDEFNUM, 0xFFFFFFFF)
    writer.table(Tag.VERNEED, need(writer, 0xFFFF, 16, 0) + need_name(writer, 0))
    writer.tag(Tag.VERNEEDNUM, 0xFFFFFFFF)
    with bounded():
        library = read_library(Image(writer.file(), "odd"))
    assert len(library.versions) == len(library.version_needs) == 1


def test_a_gnu_hash_table_whose_chain_never_ends_is_refused(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    writer.table(Tag.SYMTAB, writer.symbol(0))
    writer.table(Tag.GNU_HASH, writer.pack("IIII", 1, 1, 0, 0) + writer.pack("I", 1))
    writer.put(bytes(1 << 16))
    refused(writer, "no end|lies in no segment")


def test_a_gnu_hash_table_of_huge_counts_is_refused(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    writer.table(Tag.SYMTAB, writer.symbol(0))
    writer.table(Tag.GNU_HASH, writer.pack("IIII", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    refused(writer, "symbols|lies in no segment")


def test_relr_cannot_name_more_words_than_the_file_has(writer: ElfWriter) -> None:
    full = writer.pack(writer.word, (1 << writer.bits) - 1)
    data = writer.pack(writer.word, 8) + full * 50_000
    writer.table(Tag.RELR, data)
    writer.tag(Tag.RELRSZ, len(data))
    image = Image(writer.file(), "hostile")
    dynamic = read_dynamic(image)
    assert dynamic is not None
    with bounded(), pytest.raises(InvalidElf, match="more words"):
        for _ in relr_places(image, dynamic):
            pass


def test_note_segments_that_overlap_are_read_within_bounds(writer: ElfWriter) -> None:
    at = writer.put(writer.pack("III", 0, 0, 3) * 40_000)
    for _ in range(8):
        writer.segment(SegmentType.NOTE, at, 480_000)
    with bounded(), pytest.raises(InvalidElf, match="notes"):
        for _ in notes(Image(writer.file(), "hostile")):
            pass


@pytest.mark.parametrize("sizes", [(0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (0xFFFFFFF0, 0xFFFFFFF0)])
def test_a_note_of_a_huge_size_ends_the_list(writer: ElfWriter, sizes: tuple[int, int]) -> None:
    at = writer.put(writer.pack("III", *sizes, 3) + b"GNU\0" * 8)
    writer.segment(SegmentType.NOTE, at, 44)
    assert list(notes(Image(writer.file(), "hostile"))) == []


def test_static_symbols_that_share_one_long_name_are_bounded(writer: ElfWriter) -> None:
    data = b"".join(writer.symbol(place) for place in range(1, 2_000))
    writer.section(0, SectionType.NULL, 0, 0)
    writer.section(0, SectionType.STRTAB, writer.put(b"a" * 200_000), 200_000)
    writer.section(0, SectionType.SYMTAB, writer.put(data), len(data), link=1)
    with bounded(), pytest.raises(InvalidElf, match="symbol names overlap"):
        static_symbols(Image(writer.file(), "hostile"))


class Shrinking:
    """A file that somebody truncates while it is read."""

    def __init__(self, data: bytes) -> None:
        self._data, self._reads = data, 0

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, part: slice, /) -> bytes:
        self._reads += 1
        return self._data[part][: 100 // self._reads]


def test_a_file_that_shrinks_meanwhile_is_an_error(writer: ElfWriter) -> None:
    strings(writer, b"\0alpha\0" * 10)
    symbols(writer, [0, 1])
    with pytest.raises(InvalidElf):
        read_library(Image(Shrinking(writer.file()), "shrinking"))


def test_more_sections_than_the_header_can_count_are_read() -> None:
    writer = ElfWriter()
    for number in range(70_000):
        writer.section(1, SectionType.NULL, 0, 70_000 if number == 0 else 0, link=69_999)
    names = writer.put(b"\0name\0")
    writer._sections[-1] = (1, SectionType.STRTAB, names, 6, 0)
    image = Image(writer.file(), "object.o")
    assert len(image.sections) == 70_000
    assert image.sections[5].name == "name"


def test_dynamic_symbols_of_an_empty_file_are_none(writer: ElfWriter) -> None:
    strings(writer, b"\0")
    image = Image(writer.file(), "empty")
    dynamic = read_dynamic(image)
    assert dynamic is not None
    assert dynamic_symbols(image, dynamic) == ()
