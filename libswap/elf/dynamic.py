"""The dynamic section: what a library is called, what it needs, and where its tables lie.

Sources: gABI chapter 5 "Dynamic Section", elf.h of glibc for the GNU tags.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from libswap.elf.format import SegmentType
from libswap.elf.image import Image, string_at

MAX_ENTRIES: Final = 4096
"""No linker writes as many; a table that goes on longer is damaged."""
MAX_STRINGS: Final = 1 << 28
"""Bytes; the largest C++ libraries have a few million."""
_MAX_TEXT: Final = 1 << 16


class Tag(IntEnum):
    """d_tag values that are asked for."""

    NULL = 0
    NEEDED = 1
    PLTRELSZ = 2
    PLTGOT = 3
    HASH = 4
    STRTAB = 5
    SYMTAB = 6
    RELA = 7
    RELASZ = 8
    RELAENT = 9
    STRSZ = 10
    SYMENT = 11
    INIT = 12
    FINI = 13
    SONAME = 14
    RPATH = 15
    SYMBOLIC = 16
    REL = 17
    RELSZ = 18
    PLTREL = 20
    DEBUG = 21
    TEXTREL = 22
    JMPREL = 23
    BIND_NOW = 24
    INIT_ARRAY = 25
    FINI_ARRAY = 26
    INIT_ARRAYSZ = 27
    FINI_ARRAYSZ = 28
    RUNPATH = 29
    FLAGS = 30
    RELRSZ = 35
    RELR = 36
    GNU_HASH = 0x6FFFFEF5
    VERSYM = 0x6FFFFFF0
    FLAGS_1 = 0x6FFFFFFB
    VERDEF = 0x6FFFFFFC
    VERDEFNUM = 0x6FFFFFFD
    VERNEED = 0x6FFFFFFE
    VERNEEDNUM = 0x6FFFFFFF


DF_SYMBOLIC: Final = 0x2
DF_TEXTREL: Final = 0x4
DF_BIND_NOW: Final = 0x8
DF_STATIC_TLS: Final = 0x10
DF_1_NOW: Final = 0x1
DF_1_NODELETE: Final = 0x8
DF_1_NOOPEN: Final = 0x40
DF_1_NODEFLIB: Final = 0x800
DF_1_PIE: Final = 0x08000000


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The dynamic section's entries.

    Attributes:
        entries: (tag, value) in file order, without the closing NULL.
        strings: the dynamic string table.
    """

    entries: tuple[tuple[int, int], ...]
    strings: bytes

    def value(self, tag: Tag) -> int | None:
        """The value of a tag that occurs once; the last one counts, as for glibc."""
        return next((value for t, value in reversed(self.entries) if t == tag), None)

    def texts(self, tag: Tag) -> tuple[str, ...]:
        """The strings that every entry of a tag names."""
        return tuple(string_at(self.strings, value) for t, value in self.entries if t == tag)

    def text(self, tag: Tag) -> str | None:
        """The string that the only entry of a tag names; a search path can be long."""
        place = self.value(tag)
        return None if place is None else string_at(self.strings, place, _MAX_TEXT)

    @property
    def soname(self) -> str | None:
        """DT_SONAME."""
        return self.text(Tag.SONAME)

    @property
    def needed(self) -> tuple[str, ...]:
        """Every DT_NEEDED, in load order."""
        return self.texts(Tag.NEEDED)

    @property
    def bind_now(self) -> bool:
        """Whether every slot is bound at load time."""
        return (
            self.value(Tag.BIND_NOW) is not None
            or bool((self.value(Tag.FLAGS) or 0) & DF_BIND_NOW)
            or bool((self.value(Tag.FLAGS_1) or 0) & DF_1_NOW)
        )

    @property
    def text_relocations(self) -> bool:
        """Whether the loader must write into read-only segments."""
        return self.value(Tag.TEXTREL) is not None or bool(
            (self.value(Tag.FLAGS) or 0) & DF_TEXTREL
        )

    @property
    def symbolic(self) -> bool:
        """Whether the library's own definitions come first for its references (-Bsymbolic)."""
        return self.value(Tag.SYMBOLIC) is not None or bool(
            (self.value(Tag.FLAGS) or 0) & DF_SYMBOLIC
        )

    @property
    def static_tls(self) -> bool:
        """Whether the library asks for room in the static TLS block (initial-exec)."""
        return bool((self.value(Tag.FLAGS) or 0) & DF_STATIC_TLS)


def read_dynamic(image: Image) -> Dynamic | None:
    """The dynamic section of a file, or None for a file without one.

    Raises:
        InvalidElf: the section or its string table reaches out of the file.
    """
    segment = image.segment(SegmentType.DYNAMIC)
    if segment is None:
        return None
    size = min(segment.filesz, (MAX_ENTRIES + 1) * 2 * image.word_size)
    data = image.at_offset(segment.offset, size, "the dynamic section")
    layout = image.word.lower() + image.word
    entries: list[tuple[int, int]] = []
    for tag, value in image.unpack(layout, data):
        if tag == Tag.NULL:
            break
        if len(entries) == MAX_ENTRIES:
            raise image.bad(f"the dynamic section has more than {MAX_ENTRIES} entries")
        entries.append((tag, value))
    found = dict(entries)
    strings = b""
    if found.get(Tag.STRSZ, 0) > MAX_STRINGS:
        raise image.bad(f"the dynamic string table has more than {MAX_STRINGS} bytes")
    if found.get(Tag.STRSZ):
        strings = image.at_vaddr(
            found.get(Tag.STRTAB, 0), found[Tag.STRSZ], "the dynamic string table"
        )
    return Dynamic(tuple(entries), strings)
