"""One ELF file's header, segments and sections, read over its bytes with every range checked.

Sources: System V gABI chapters 4 and 5, elf(5). The bytes may be hostile: every table is bounded by
the buffer before it is read, and nothing is allocated because a header says so.
"""

import os
import stat
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Final, Self

from libswap.elf.contents import Bytes, FileBytes
from libswap.elf.foreign import what_it_is
from libswap.elf.format import (
    Header,
    Section,
    SectionType,
    Segment,
    SegmentFlags,
    SegmentType,
    Target,
)
from libswap.errors.base import InvalidElf

MAX_SECTIONS: Final = 1 << 20
"""An object of a hundred thousand functions, each in a section of its own, has a fifth of it."""
_SHN_XINDEX: Final = 0xFFFF
_MAX_SECTION_NAME: Final = 1 << 16
_MAX_SECTION_NAMES: Final = 1 << 26


class Image:
    """An ELF file over its bytes; facts are read when they are asked for, and once.

    Attributes:
        name: what to call the file in an error.
        data: the file's bytes.
    """

    def __init__(self, data: Bytes, name: str) -> None:
        """Read the ELF header.

        Raises:
            InvalidElf: the bytes are no ELF file, or the header is damaged.
        """
        self.name = name
        self.data = data
        self.header = self._read_header()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a file for as long as the image lives.

        Raises:
            InvalidElf: it is no ELF file.
            OSError: it cannot be opened.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return cls.read(descriptor, os.fspath(path))
        finally:
            os.close(descriptor)

    @classmethod
    def read(cls, descriptor: int, name: str) -> Self:
        """The image in an open file, of which it keeps a duplicate.

        Raises:
            InvalidElf: it is no regular file, or no ELF file.
        """
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = "it is a directory" if stat.S_ISDIR(mode) else "it is not a regular file"
            raise InvalidElf(name, what)
        return cls(FileBytes(descriptor), name)

    def bad(self, reason: str) -> InvalidElf:
        """The error that says what is wrong with this file."""
        return InvalidElf(self.name, reason)

    def at_offset(self, offset: int, size: int, what: str) -> bytes:
        """`size` bytes of the file from `offset`.

        Raises:
            InvalidElf: they are not all there; `what` names them.
        """
        if offset < 0 or size < 0 or offset + size > len(self.data):
            end = len(self.data)
            raise self.bad(f"{what} reaches past the end of the file ({offset}+{size} > {end})")
        found = bytes(self.data[offset : offset + size])
        if len(found) != size:
            raise self.bad(f"the file became shorter while {what} was read")
        return found

    def at_vaddr(self, vaddr: int, size: int, what: str) -> bytes:
        """`size` bytes that a LOAD segment maps from the file at virtual address `vaddr`.

        Raises:
            InvalidElf: no segment's file bytes cover them.
        """
        return self.at_offset(self.offset_of(vaddr, size, what), size, what)

    def rest_of_segment(self, vaddr: int, what: str, limit: int = 1 << 21) -> bytes:
        """The bytes from `vaddr` to the end of its LOAD segment in the file, at most `limit`.

        Raises:
            InvalidElf: no segment's file bytes cover `vaddr`.
        """
        for segment in self.loads:
            if segment.holds(vaddr):
                size = min(segment.vaddr + segment.filesz - vaddr, limit)
                offset = segment.offset + (vaddr - segment.vaddr)
                return self.at_offset(offset, min(size, len(self.data) - offset), what)
        raise self.bad(f"{what} at {vaddr:#x} lies in no segment of the file")

    def offset_of(self, vaddr: int, size: int, what: str) -> int:
        """The file offset of a virtual address.

        Raises:
            InvalidElf: no segment's file bytes cover [vaddr, vaddr + size).
        """
        for segment in self.loads:
            if segment.holds(vaddr, size):
                return segment.offset + (vaddr - segment.vaddr)
        raise self.bad(f"{what} at {vaddr:#x} lies in no segment of the file")

    def unpack(self, layout: str, data: bytes) -> Iterator[tuple[int, ...]]:
        """`data` as records of a `struct` layout in this file's byte order.

        A trailing part of a record is left out.
        """
        record = struct.Struct(self.order + layout)
        usable = len(data) - len(data) % record.size
        return record.iter_unpack(memoryview(data)[:usable])

    @property
    def target(self) -> Target:
        """Which machine the file is for."""
        header = self.header
        return Target(header.machine, header.machine_name, header.bits, header.little_endian)

    @property
    def order(self) -> str:
        """The `struct` byte-order mark of this file."""
        return "<" if self.header.little_endian else ">"

    @property
    def word(self) -> str:
        """The `struct` letter of an address in this file."""
        return "Q" if self.header.bits == 64 else "I"

    @property
    def word_size(self) -> int:
        """An address's size in bytes."""
        return self.header.bits // 8

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """The program headers, in their order.

        Raises:
            InvalidElf: the table is damaged.
        """
        header = self.header
        if header._phnum == 0:  # noqa: SLF001  the header's own reader
            return ()
        layout = "IIQQQQQQ" if header.bits == 64 else "IIIIIIII"
        table = self._table(header._phoff, header._phnum, header._phentsize, layout, "program")  # noqa: SLF001
        return tuple(self._segment(row) for row in self.unpack(layout, table))

    @cached_property
    def loads(self) -> tuple[Segment, ...]:
        """The LOAD segments."""
        return tuple(s for s in self.segments if s.type == SegmentType.LOAD)

    def segment(self, kind: SegmentType) -> Segment | None:
        """The first segment of a type."""
        return next((s for s in self.segments if s.type == kind), None)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The section headers, in their order; empty where the file has none.

        Raises:
            InvalidElf: the table is damaged.
        """
        header = self.header
        if header._shoff == 0:  # noqa: SLF001
            return ()
        layout = "IIQQQQIIQQ" if header.bits == 64 else "IIIIIIIIII"
        count, names_at = self._section_counts(layout)
        table = self._table(header._shoff, count, header._shentsize, layout, "section")  # noqa: SLF001
        rows = list(self.unpack(layout, table))
        names = b""
        if names_at < len(rows):
            strings = rows[names_at]
            names = self.at_offset(strings[4], strings[5], "the section name table")
        if count * min(len(names), _MAX_SECTION_NAME) > _MAX_SECTION_NAMES:
            self._require_few_names(rows, names)
        return tuple(
            Section(
                string_at(names, r[0], _MAX_SECTION_NAME),
                r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[9], r[8],
            )
            for r in rows
        )  # fmt: skip

    def _section_counts(self, layout: str) -> tuple[int, int]:
        """How many sections there are, and which has their names.

        Numbers that do not fit the header stand in the first section (gABI chapter 4, e_shnum).
        """
        header = self.header
        count, names_at = header._shnum, header._shstrndx  # noqa: SLF001
        if count == 0 or names_at == _SHN_XINDEX:
            first = self._table(header._shoff, 1, header._shentsize, layout, "section")  # noqa: SLF001
            row = next(self.unpack(layout, first))
            count, names_at = count or row[5], row[6] if names_at == _SHN_XINDEX else names_at
        if count > MAX_SECTIONS:
            raise self.bad(f"it has {count} sections, more than {MAX_SECTIONS}")
        return count, names_at

    def _require_few_names(self, rows: list[tuple[int, ...]], names: bytes) -> None:
        """Refuse a table of names that overlap without end."""
        room = len(names) + _MAX_SECTION_NAMES
        for row in rows:
            room -= len(string_at(names, row[0], _MAX_SECTION_NAME))
            if room < 0:
                raise self.bad("its section names overlap without end")

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((s for s in self.sections if s.name == name), None)

    def section_bytes(self, section: Section) -> bytes:
        """A section's bytes in the file; none for NOBITS.

        Raises:
            InvalidElf: the section reaches past the end of the file.
        """
        if section.type == SectionType.NOBITS:
            return b""
        return self.at_offset(section.offset, section.size, f"section {section.name}")

    def _read_header(self) -> Header:
        ident = bytes(self.data[:16])
        if ident[:4] != b"\x7fELF":
            raise self.bad(what_it_is(bytes(self.data[:1024])))
        if len(ident) < 16 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise self.bad("the ELF identification is damaged")
        bits, little = (32, 64)[ident[4] - 1], ident[5] == 1
        layout = ("<" if little else ">") + ("HHIQQQIHHHHHH" if bits == 64 else "HHIIIIIHHHHHH")
        fields = struct.Struct(layout)
        if len(self.data) < 16 + fields.size:
            raise self.bad("it ends inside the ELF header")
        kind, machine, _version, entry, phoff, shoff, flags, _ehsize, *tables = fields.unpack(
            bytes(self.data[16 : 16 + fields.size])
        )
        return Header(
            bits, little, ident[7], ident[8], kind, machine, entry, flags, phoff, shoff, *tables
        )

    def _table(self, offset: int, count: int, entry_size: int, layout: str, what: str) -> bytes:
        if entry_size != struct.calcsize(self.order + layout):
            raise self.bad(f"a {what} header of {entry_size} bytes is not what the ELF class has")
        return self.at_offset(offset, count * entry_size, f"the {what} header table")

    def _segment(self, row: tuple[int, ...]) -> Segment:
        if self.header.bits == 64:
            kind, flags, offset, vaddr, _paddr, filesz, memsz, align = row
        else:
            kind, offset, vaddr, _paddr, filesz, memsz, flags, align = row
        return Segment(kind, SegmentFlags(flags & 7), offset, vaddr, filesz, memsz, align)


def string_at(table: bytes, offset: int, limit: int = 4096) -> str:
    """The NUL-ended string of a string table, as a name of a file: os.fsencode gives its bytes.

    An offset outside the table gives the empty string, as gABI chapter 4 does for index 0. What is
    longer than `limit` (by default PATH_MAX, since most are names of files) is cut.
    """
    if not 0 <= offset < len(table):
        return ""
    last = min(offset + limit, len(table))
    end = table.find(b"\0", offset, last)
    return os.fsdecode(table[offset : end if end >= 0 else last])
