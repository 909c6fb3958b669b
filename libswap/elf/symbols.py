"""Symbols with their versions, tens of thousands at a time.

Sources: gABI chapter 4 "Symbol Table"; LSB Core 5.0 section 10.7 "Symbol Versioning"; for the
number of dynamic symbols without section headers, the GNU hash table as glibc's dl-lookup.c
walks it.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice
from typing import Final, NamedTuple

from libswap.elf.dynamic import Dynamic, Tag
from libswap.elf.image import Image, SectionType, string_at

SHN_UNDEF: Final = 0
SHN_ABS: Final = 0xFFF1
SHN_COMMON: Final = 0xFFF2
VERSYM_HIDDEN: Final = 0x8000
MAX_VERSIONS: Final = 0x7FFF


class SymbolType(IntEnum):
    """st_info & 15, gABI figure 4-17."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4
    COMMON = 5
    TLS = 6
    GNU_IFUNC = 10


class Binding(IntEnum):
    """st_info >> 4, gABI figure 4-16."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2
    GNU_UNIQUE = 10


class Visibility(IntEnum):
    """st_other & 3, gABI figure 4-19."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class Symbol(NamedTuple):
    """One symbol table entry.

    Attributes:
        version: the version node it is defined in or wants, "" for none.
        default: whether an unversioned reference binds to this version (name@@version).
        library: for an undefined symbol, the soname that its version is wanted from, else "".
        value: virtual address in the file's terms (for TLS: offset in the TLS block).
        size: bytes.
        section: st_shndx.
        type, binding, visibility: numbers of `SymbolType`, `Binding`, `Visibility`, or others.
    """

    name: str
    version: str
    default: bool
    library: str
    value: int
    size: int
    section: int
    type: int
    binding: int
    visibility: int

    @property
    def defined(self) -> bool:
        """Whether the file defines it."""
        return self.section != SHN_UNDEF

    @property
    def is_function(self) -> bool:
        """FUNC or GNU_IFUNC."""
        return self.type in (SymbolType.FUNC, SymbolType.GNU_IFUNC)

    @property
    def label(self) -> str:
        """name, name@version or name@@version, as the GNU tools write it."""
        if not self.version:
            return self.name
        return f"{self.name}{'@@' if self.default and self.defined else '@'}{self.version}"


class Version(NamedTuple):
    """A version index's meaning: its node's name, and for a wanted one the soname it comes from."""

    name: str
    library: str


def dynamic_symbols(image: Image, dynamic: Dynamic) -> tuple[Symbol, ...]:
    """The dynamic symbol table, index by index (the null symbol included, so that indexes hold).

    Raises:
        InvalidElf: a table reaches out of the file.
    """
    start = dynamic.value(Tag.SYMTAB)
    count = _dynamic_symbol_count(image, dynamic)
    if start is None or count == 0:
        return ()
    size = 24 if image.header.bits == 64 else 16
    table = image.at_vaddr(start, count * size, "the dynamic symbol table")
    indexes: tuple[int, ...] = ()
    versym = dynamic.value(Tag.VERSYM)
    if versym is not None:
        raw = image.at_vaddr(versym, count * 2, "the symbol version table")
        indexes = struct.unpack(f"{image.order}{count}H", raw)
    return tuple(_symbols(image, table, dynamic.strings, indexes, versions(image, dynamic)))


def static_symbols(image: Image) -> tuple[Symbol, ...]:
    """The .symtab of a file that is not stripped, else nothing. Same order as in the file.

    Raises:
        InvalidElf: the table reaches out of the file.
    """
    table = next((s for s in image.sections if s.type == SectionType.SYMTAB), None)
    if table is None or table.link >= len(image.sections):
        return ()
    strings = image.section_bytes(image.sections[table.link])
    return tuple(_symbols(image, image.section_bytes(table), strings, (), {}))


def version_definitions(image: Image, dynamic: Dynamic) -> dict[int, str]:
    """The version nodes that a library defines, by index (the file's own name, index 1, included).

    Raises:
        InvalidElf: the table is damaged.
    """
    found: dict[int, str] = {}
    address = dynamic.value(Tag.VERDEF)
    for _ in range(min(dynamic.value(Tag.VERDEFNUM) or 0, MAX_VERSIONS) if address else 0):
        assert address is not None  # noqa: S101  the range is empty without one
        _, _, index, _, _, aux, after = _record(image, address, "HHHHIII", "a version definition")
        name, _ = _record(image, address + aux, "II", "a version definition's name")
        found[index & MAX_VERSIONS] = string_at(dynamic.strings, name)
        if after == 0:
            break
        address += after
    return found


def version_needs(image: Image, dynamic: Dynamic) -> dict[int, Version]:
    """The version nodes that a file wants from others, by index.

    Raises:
        InvalidElf: the table is damaged.
    """
    found: dict[int, Version] = {}
    address = dynamic.value(Tag.VERNEED)
    for _ in range(min(dynamic.value(Tag.VERNEEDNUM) or 0, MAX_VERSIONS) if address else 0):
        assert address is not None  # noqa: S101  the range is empty without one
        _, count, file, aux, after = _record(image, address, "HHIII", "a version need")
        library = string_at(dynamic.strings, file)
        entry = address + aux
        for _ in range(count):
            _, _, index, name, next_aux = _record(image, entry, "IHHII", "a version need's name")
            found[index & MAX_VERSIONS] = Version(string_at(dynamic.strings, name), library)
            if next_aux == 0:
                break
            entry += next_aux
        if after == 0:
            break
        address += after
    return found


def versions(image: Image, dynamic: Dynamic) -> dict[int, Version]:
    """What each index of the version table means; 0 (local) and 1 (global) mean no version."""
    defined = {i: Version(name, "") for i, name in version_definitions(image, dynamic).items()}
    return {**defined, **version_needs(image, dynamic)}


def _symbols(
    image: Image,
    table: bytes,
    strings: bytes,
    indexes: tuple[int, ...],
    meaning: dict[int, Version],
) -> Iterator[Symbol]:
    nothing = Version("", "")
    find, length = strings.find, len(strings)
    wide = image.header.bits == 64
    for number, row in enumerate(image.unpack("IBBHQQ" if wide else "IIIBBH", table)):
        if wide:
            name_at, info, other, section, value, size = row
        else:
            name_at, value, size, info, other, section = row
        name = ""
        if 0 < name_at < length:
            end = find(b"\0", name_at)
            raw = strings[name_at : end if end >= 0 else length]
            name = raw.decode("utf-8", "surrogateescape")
        index = indexes[number] if indexes else 0
        version, library = (
            meaning.get(index & MAX_VERSIONS, nothing) if index & MAX_VERSIONS > 1 else nothing
        )
        yield Symbol(
            name, version, not index & VERSYM_HIDDEN, library, value, size, section,
            info & 15, info >> 4, other & 3,
        )  # fmt: skip


def _dynamic_symbol_count(image: Image, dynamic: Dynamic) -> int:
    """DT_HASH says it; a GNU hash table's last chain ends with the last symbol; else .dynsym."""
    table = dynamic.value(Tag.HASH)
    if table is not None:
        _buckets, chains = _record(image, table, "II", "the hash table")
        return chains
    table = dynamic.value(Tag.GNU_HASH)
    if table is not None:
        return _gnu_hash_count(image, table)
    section = next((s for s in image.sections if s.type == SectionType.DYNSYM), None)
    return section.size // (24 if image.header.bits == 64 else 16) if section else 0


def _gnu_hash_count(image: Image, table: int) -> int:
    what = "the GNU hash table"
    buckets, first, bloom, _shift = _record(image, table, "IIII", what)
    at = table + 16 + bloom * image.word_size
    heads = struct.unpack(f"{image.order}{buckets}I", image.at_vaddr(at, buckets * 4, what))
    last = max(heads, default=0)
    if last < first:
        # Only undefined symbols, which no chain lists: the section header or the string table's
        # usual place right behind the symbols tells.
        section = next((s for s in image.sections if s.type == SectionType.DYNSYM), None)
        return section.size // (24 if image.header.bits == 64 else 16) if section else first
    chain = image.offset_of(at + (buckets + last - first) * 4, 4, what)
    end = len(image.data)
    words = image.unpack("I", image.at_offset(chain, (end - chain) & ~3, what))
    for number, (word,) in enumerate(islice(words, (end - chain) // 4)):
        if word & 1:
            return last + number + 1
    raise image.bad("the last chain of the GNU hash table has no end")


def _record(image: Image, vaddr: int, layout: str, what: str) -> tuple[int, ...]:
    record = struct.Struct(image.order + layout)
    return record.unpack(image.at_vaddr(vaddr, record.size, what))
