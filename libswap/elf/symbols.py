"""Symbols with their versions, tens of thousands at a time.

Sources: gABI chapter 4 "Symbol Table"; LSB Core 5.0 section 10.7 "Symbol Versioning"; for the
number of dynamic symbols without section headers, the GNU hash table as glibc's dl-lookup.c
walks it.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import repeat
from typing import Final, NamedTuple

from libswap.elf.dynamic import Dynamic, Tag
from libswap.elf.format import SectionType
from libswap.elf.image import Image
from libswap.elf.versions import HIDDEN, INDEX, Version, versions

SHN_UNDEF: Final = 0
SHN_ABS: Final = 0xFFF1
SHN_COMMON: Final = 0xFFF2
MAX_SYMBOLS: Final = 1 << 22
"""Several times what the largest libraries have; more is not worth a process's memory."""

_SHARED_NAMES: Final = 1 << 26
"""Bytes of names that may exceed the string table: names share their ends, but not without end."""
_CHAIN_PIECE: Final = 1 << 12
_NO_VERSION: Final = Version("", "")
_Row = tuple[str, str, bool, str, int, int, int, int, int, int]


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


class SymbolKey(NamedTuple):
    """What a reference binds by; the version is "" where there is none."""

    name: str
    version: str


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


def dynamic_symbols(image: Image, dynamic: Dynamic) -> tuple[Symbol, ...]:
    """The dynamic symbol table, index by index (the null symbol included, so that indexes hold).

    Raises:
        InvalidElf: a table reaches out of the file.
    """
    start = dynamic.value(Tag.SYMTAB)
    count = _dynamic_symbol_count(image, dynamic)
    if start is None or count == 0:
        return ()
    _require_bounded(image, count)
    table = image.at_vaddr(start, count * _entry_size(image), "the dynamic symbol table")
    versym = dynamic.value(Tag.VERSYM)
    if versym is None:
        return _symbols(image, table, dynamic.strings, repeat(0), {})
    raw = image.at_vaddr(versym, count * 2, "the symbol version table")
    indexes = struct.unpack(f"{image.order}{count}H", raw)
    return _symbols(image, table, dynamic.strings, indexes, versions(image, dynamic))


def static_symbols(image: Image) -> tuple[Symbol, ...]:
    """The .symtab of a file that is not stripped, else nothing. Same order as in the file.

    Raises:
        InvalidElf: the table reaches out of the file.
    """
    table = next((s for s in image.sections if s.type == SectionType.SYMTAB), None)
    if table is None or table.link >= len(image.sections):
        return ()
    _require_bounded(image, table.size // _entry_size(image))
    strings = image.section_bytes(image.sections[table.link])
    return _symbols(image, image.section_bytes(table), strings, repeat(0), {})


def _symbols(
    image: Image,
    table: bytes,
    strings: bytes,
    indexes: Iterable[int],
    nodes: Mapping[int, Version],
) -> tuple[Symbol, ...]:
    return tuple(map(Symbol._make, _rows(image, table, strings, indexes, _Meaning(nodes))))


def _rows(
    image: Image, table: bytes, strings: bytes, indexes: Iterable[int], meaning: "_Meaning"
) -> Iterator[_Row]:
    """The fields of each `Symbol`; a loop over a whole table, so everything in it counts."""
    find, length = strings.find, len(strings)
    room = length + _SHARED_NAMES
    wide = image.header.bits == 64
    layout = "IBBHQQ" if wide else "IIIBBH"
    for row, index in zip(image.unpack(layout, table), indexes, strict=False):
        if wide:
            start, info, other, section, value, size = row
        else:
            start, value, size, info, other, section = row
        name = ""
        if 0 < start < length:
            end = find(b"\0", start)
            raw = strings[start : end if end >= 0 else length]
            name = raw.decode("utf-8", "surrogateescape")
            room -= len(raw)
            if room < 0:
                raise image.bad("its symbol names overlap without end")
        version, default, library = meaning[index]
        yield (
            name, version, default, library, value, size, section,
            info & 15, info >> 4, other & 3,
        )  # fmt: skip


class _Meaning(dict[int, tuple[str, bool, str]]):
    """A versym entry's node, whether it is the default one, and the soname it is wanted from."""

    def __init__(self, nodes: Mapping[int, Version]) -> None:
        super().__init__()
        self._nodes = nodes

    def __missing__(self, entry: int) -> tuple[str, bool, str]:
        index = entry & INDEX
        node = self._nodes.get(index, _NO_VERSION) if index > 1 else _NO_VERSION
        self[entry] = found = (node.name, not entry & HIDDEN, node.library)
        return found


def _require_bounded(image: Image, count: int) -> None:
    if count > MAX_SYMBOLS:
        raise image.bad(f"it has {count} symbols, more than {MAX_SYMBOLS}")


def _entry_size(image: Image) -> int:
    return 24 if image.header.bits == 64 else 16


def _dynamic_symbol_count(image: Image, dynamic: Dynamic) -> int:
    """DT_HASH says it; a GNU hash table's last chain ends with the last symbol; else .dynsym."""
    table = dynamic.value(Tag.HASH)
    if table is not None:
        header = image.at_vaddr(table, 8, "the hash table")
        chains: int = struct.unpack(f"{image.order}II", header)[1]
        return chains
    table = dynamic.value(Tag.GNU_HASH)
    if table is not None:
        return _gnu_hash_count(image, table)
    return _section_count(image)


def _gnu_hash_count(image: Image, table: int) -> int:
    what = "the GNU hash table"
    header = image.at_vaddr(table, 16, what)
    buckets, first, bloom, _shift = struct.unpack(f"{image.order}4I", header)
    _require_bounded(image, buckets)
    at = table + 16 + bloom * image.word_size
    heads = image.at_vaddr(at, buckets * 4, what)
    last: int = max(struct.unpack(f"{image.order}{buckets}I", heads), default=0)
    if last < first:
        # Only undefined symbols, which no chain lists; ld then writes a `first` of 1.
        return max(_section_count(image), int(first))
    chains = at + buckets * 4
    while last <= MAX_SYMBOLS:
        piece = image.rest_of_segment(chains + (last - first) * 4, what, _CHAIN_PIECE)
        for (word,) in image.unpack("I", piece):
            last += 1
            if word & 1:
                return last
        if len(piece) < 4:
            break
    raise image.bad("the last chain of the GNU hash table has no end")


def _section_count(image: Image) -> int:
    section = next((s for s in image.sections if s.type == SectionType.DYNSYM), None)
    return section.size // _entry_size(image) if section else 0
