"""The relocations that the dynamic linker applies to a file.

Sources: psABI x86-64 table 4.10; gABI chapter 5 DT_RELA, DT_REL, DT_JMPREL, DT_RELR.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from libswap.elf.dynamic import Dynamic, Tag
from libswap.elf.format import EM_386, EM_AARCH64, EM_X86_64
from libswap.elf.image import Image
from libswap.elf.symbols import Symbol, SymbolKey


class X86_64(IntEnum):  # noqa: N801  the machine's own name
    """ELF64_R_TYPE for EM_X86_64: those a linked file may hold."""

    NONE = 0
    ADDR64 = 1
    COPY = 5
    GLOB_DAT = 6
    JUMP_SLOT = 7
    RELATIVE = 8
    DTPMOD64 = 16
    DTPOFF64 = 17
    TPOFF64 = 18
    TLSDESC = 36
    IRELATIVE = 37


COPY: Final = {EM_386: 5, EM_X86_64: 5, EM_AARCH64: 1024, 40: 20, 243: 4, 21: 19, 22: 9, 258: 4}
"""R_<machine>_COPY by e_machine."""
MAX_TABLE: Final = 1 << 28
"""Bytes of one table; eleven million relocations are several times what any browser has."""


class Relocation(NamedTuple):
    """One place that the dynamic linker fills in.

    Attributes:
        offset: virtual address of the place, in the file's terms.
        type: for x86-64 an `X86_64` number.
        symbol: index in the dynamic symbol table, 0 for none.
        addend: what is added; for REL and RELR tables it lies in the place itself and is 0 here.
        lazy: whether it stands in DT_JMPREL and may be bound at the first call.
    """

    offset: int
    type: int
    symbol: int
    addend: int
    lazy: bool


def relocations(image: Image, dynamic: Dynamic, *, relr: bool = True) -> Iterator[Relocation]:
    """All of them, DT_RELA or DT_REL first, then DT_RELR (as RELATIVE), then DT_JMPREL.

    Args:
        image: the file.
        dynamic: its dynamic section.
        relr: whether DT_RELR, which names no symbols, is wanted too.

    Raises:
        InvalidElf: a table reaches out of the file.
    """
    if dynamic.value(Tag.RELA) is not None:
        yield from _table(image, dynamic, Tag.RELA, Tag.RELASZ, explicit=True, lazy=False)
    if dynamic.value(Tag.REL) is not None:
        yield from _table(image, dynamic, Tag.REL, Tag.RELSZ, explicit=False, lazy=False)
    for offset in relr_places(image, dynamic) if relr else ():
        yield Relocation(offset, X86_64.RELATIVE, 0, 0, lazy=False)
    if dynamic.value(Tag.JMPREL) is not None:
        explicit = dynamic.value(Tag.PLTREL) == Tag.RELA
        yield from _table(image, dynamic, Tag.JMPREL, Tag.PLTRELSZ, explicit=explicit, lazy=True)


def copied_symbols(
    image: Image, dynamic: Dynamic, symbols: Sequence[Symbol]
) -> frozenset[SymbolKey]:
    """The data that a program takes into itself when it starts (copy relocations).

    Args:
        image: a program.
        dynamic: its dynamic section.
        symbols: its dynamic symbol table, index by index.

    Raises:
        InvalidElf: a table reaches out of the file.
    """
    copy = COPY.get(image.header.machine)
    places = (r.symbol for r in relocations(image, dynamic, relr=False) if r.type == copy)
    found = (symbols[at] for at in places if at < len(symbols))
    return frozenset(SymbolKey(s.name, s.version) for s in found)


def relr_places(image: Image, dynamic: Dynamic) -> Iterator[int]:
    """The virtual addresses that DT_RELR lists in its packed form.

    Raises:
        InvalidElf: the table reaches out of the file, or lists more words than the file has.
    """
    start, size = dynamic.value(Tag.RELR), dynamic.value(Tag.RELRSZ)
    if start is None or not size:
        return
    step = image.word_size
    if size > MAX_TABLE:
        raise image.bad(f"the RELR table has more than {MAX_TABLE} bytes")
    data = image.at_vaddr(start, size, "the RELR table")
    at, room = 0, len(image.data) // step
    for (entry,) in image.unpack(image.word, data):
        room -= 1 if entry & 1 == 0 else entry.bit_count() - 1
        if room < 0:
            raise image.bad("the RELR table lists more words than the file has")
        if entry & 1 == 0:
            yield entry
            at = entry + step
        else:
            for bit in range(1, 8 * step):
                if entry >> bit & 1:
                    yield at + (bit - 1) * step
            at += (8 * step - 1) * step


def _table(
    image: Image, dynamic: Dynamic, start: Tag, size: Tag, *, explicit: bool, lazy: bool
) -> Iterator[Relocation]:
    address, length = dynamic.value(start), dynamic.value(size) or 0
    if address is None or length == 0:
        return
    word = image.word
    layout = f"{word}{word}{word.lower()}" if explicit else f"{word}{word}"
    shift, mask = (32, 0xFFFFFFFF) if image.header.bits == 64 else (8, 0xFF)
    if length > MAX_TABLE:
        raise image.bad(f"a relocation table has more than {MAX_TABLE} bytes")
    data = image.at_vaddr(address, length, "a relocation table")
    for row in image.unpack(layout, data):
        addend = row[2] if explicit else 0
        yield Relocation(row[0], row[1] & mask, row[1] >> shift, addend, lazy)
