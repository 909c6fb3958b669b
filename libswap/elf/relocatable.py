"""A compiler's relocatable object: its sections, its symbols and the relocations it asks for.

Sources: gABI chapter 4 "Sections", "Section Groups", "Relocation"; psABI x86-64 table 4.9.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from libswap.elf.format import EM_X86_64, FileType, Section, SectionType
from libswap.elf.image import Image
from libswap.elf.symbols import Symbol, static_symbols
from libswap.errors.base import InvalidElf
from libswap.errors.patch import InvalidObject

MAX_SECTION: Final = 1 << 28
"""Bytes of one section in memory; a patch of more is no patch."""
MAX_ALIGNMENT: Final = 4096
_SHN_XINDEX: Final = 0xFFFF
_GRP_COMDAT: Final = 1


class SectionFlags(IntFlag):
    """sh_flags, gABI figure 4-11, and the x86-64 one for the large model."""

    WRITE = 0x1
    ALLOC = 0x2
    EXECINSTR = 0x4
    MERGE = 0x10
    STRINGS = 0x20
    GROUP = 0x200
    TLS = 0x400
    COMPRESSED = 0x800
    X86_64_LARGE = 0x10000000
    EXCLUDE = 0x80000000


class Kind(IntEnum):
    """R_X86_64_*: what compilers and assemblers ask a linker for."""

    NONE = 0
    R64 = 1
    PC32 = 2
    GOT32 = 3
    PLT32 = 4
    GOTPCREL = 9
    R32 = 10
    R32S = 11
    R16 = 12
    PC16 = 13
    R8 = 14
    PC8 = 15
    DTPOFF64 = 17
    TPOFF64 = 18
    TLSGD = 19
    TLSLD = 20
    DTPOFF32 = 21
    GOTTPOFF = 22
    TPOFF32 = 23
    PC64 = 24
    GOTOFF64 = 25
    GOTPC32 = 26
    GOT64 = 27
    GOTPCREL64 = 28
    GOTPC64 = 29
    GOTPLT64 = 30
    PLTOFF64 = 31
    SIZE32 = 32
    SIZE64 = 33
    GOTPC32_TLSDESC = 34
    TLSDESC_CALL = 35
    GOTPCRELX = 41
    REX_GOTPCRELX = 42


class ObjectRelocation(NamedTuple):
    """One place to fill in.

    Attributes:
        offset: of the place in its section.
        type: a `Kind`, or a number that is none.
        symbol: index in the symbol table.
        addend: signed.
    """

    offset: int
    type: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True)
class ObjectSection:
    """A section that takes part in the memory of the linked thing.

    Attributes:
        index: its number in the object.
        flags: `SectionFlags`.
        size: in memory, in bytes.
        align: a power of two.
        data: its bytes; empty for .bss and the like.
        group: the signature of its COMDAT group, "" outside of one.
    """

    index: int
    name: str
    type: int
    flags: SectionFlags
    size: int
    align: int
    data: bytes
    relocations: tuple[ObjectRelocation, ...]
    group: str


@dataclass(frozen=True, slots=True)
class Relocatable:
    """An ET_REL object for x86-64.

    Attributes:
        name: what to call the file.
        sections: the ones with SHF_ALLOC, by index.
        symbols: its symbol table; relocations name its entries by index.
        source: what the first STT_FILE symbol says that it was compiled from, "" where none does.
    """

    name: str
    sections: dict[int, ObjectSection]
    symbols: tuple[Symbol, ...]
    source: str


def read_relocatable(image: Image) -> Relocatable:
    """Everything of an object that a linker needs.

    Raises:
        InvalidObject: it is no x86-64 object, or is damaged.
    """
    try:
        return _read(image)
    except InvalidElf as error:
        raise InvalidObject(error.path, error.reason) from None


def _read(image: Image) -> Relocatable:
    header = image.header
    if header.type != FileType.REL:
        raise image.bad("it is linked already; a patch is made of objects (cc -c)")
    if header.machine != EM_X86_64 or header.bits != 64 or not header.little_endian:
        raise image.bad(f"it is for {header.bits}-bit {header.machine_name}, not x86-64")
    if any(s.name.startswith(".gnu.lto_") for s in image.sections):
        raise image.bad("it holds compiler-internal code (LTO); compile it with -fno-lto")
    if sum(s.type == SectionType.SYMTAB for s in image.sections) > 1:
        raise image.bad("it has more than one symbol table")
    symbols = static_symbols(image)
    if any(s.section == _SHN_XINDEX for s in symbols):
        raise image.bad("it has more than 65,279 sections")
    groups = dict(_groups(image, symbols))
    tables = {s.info: s for s in image.sections if s.type == SectionType.RELA}
    if any(s.type == SectionType.REL for s in image.sections):
        raise image.bad("it has REL relocations, which x86-64 does not use")
    sections = {
        index: _section(
            image,
            index,
            section,
            groups.get(index, ""),
            tuple(_relocations(image, section, tables.get(index), len(symbols))),
        )
        for index, section in enumerate(image.sections)
        if section.flags & SectionFlags.ALLOC
    }
    source = next((s.name for s in symbols if s.type == 4), "")  # STT_FILE
    return Relocatable(image.name, sections, symbols, source)


def _section(
    image: Image,
    index: int,
    section: Section,
    group: str,
    relocations: tuple[ObjectRelocation, ...],
) -> ObjectSection:
    if section.flags & SectionFlags.COMPRESSED:
        raise image.bad(f"section {section.name} is compressed and has SHF_ALLOC")
    align = max(section.align, 1)
    if align & (align - 1) or align > MAX_ALIGNMENT:
        raise image.bad(f"section {section.name} has an alignment of {section.align}")
    if section.size > MAX_SECTION:
        raise image.bad(f"section {section.name} has {section.size} bytes")
    return ObjectSection(
        index,
        section.name,
        section.type,
        SectionFlags(section.flags & sum(SectionFlags)),
        section.size,
        align,
        image.section_bytes(section),
        relocations,
        group,
    )


def _relocations(
    image: Image, section: Section, table: Section | None, symbols: int
) -> Iterator[ObjectRelocation]:
    if table is None:
        return
    if table.entsize != 24:
        raise image.bad(f"the relocations of {section.name} have entries of {table.entsize} bytes")
    for offset, info, addend in image.unpack("QQq", image.section_bytes(table)):
        if info >> 32 >= symbols:
            raise image.bad(f"a relocation of {section.name} names symbol {info >> 32}")
        if offset >= section.size or section.type == SectionType.NOBITS:
            raise image.bad(f"a relocation of {section.name} lies outside of it, at {offset:#x}")
        yield ObjectRelocation(offset, info & 0xFFFFFFFF, info >> 32, addend)


def _groups(image: Image, symbols: tuple[Symbol, ...]) -> Iterator[tuple[int, str]]:
    """(member section, signature) of the COMDAT groups."""
    for section in image.sections:
        if section.type != SectionType.GROUP:
            continue
        words = [w for (w,) in image.unpack("I", image.section_bytes(section))]
        if section.info >= len(symbols):
            raise image.bad(f"a section group names symbol {section.info}")
        if words and words[0] & _GRP_COMDAT:
            signature = symbols[section.info].name or f"section {symbols[section.info].section}"
            yield from ((member, signature) for member in words[1:])
