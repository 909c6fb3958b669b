"""One ELF file's header, segments and sections, read over its bytes with every range checked.

Sources: System V gABI chapters 4 and 5, elf(5). The bytes may be hostile: every table is bounded by
the buffer before it is read, and nothing is allocated because a header says so.
"""

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Final, Protocol, Self

from libswap.errors.base import InvalidElf


class Bytes(Protocol):
    """What an image lies in: `bytes`, a `memoryview`, or an open file."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes | bytearray | memoryview: ...


class FileBytes:
    """An open file as bytes, read where it is asked.

    Not a mapping: a file that somebody truncates meanwhile gives fewer bytes here, where a mapping
    would give us SIGBUS.

    Attributes:
        identity: device, inode, size and time of the last change; equal for the same contents.
    """

    def __init__(self, descriptor: int) -> None:
        """Keep a duplicate of `descriptor`, which the caller may close."""
        self._descriptor = -1
        self._descriptor = os.dup(descriptor)
        facts = os.fstat(descriptor)
        self._size = facts.st_size
        self.identity = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(stop - start, 0), start)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


EM_386: Final = 3
EM_X86_64: Final = 62
EM_AARCH64: Final = 183

MAX_SECTIONS: Final = 1 << 20
"""An object of a hundred thousand functions, each in a section of its own, has a fifth of it."""

_SHN_XINDEX: Final = 0xFFFF
_MAX_SECTION_NAME: Final = 1 << 16
_MAX_SECTION_NAMES: Final = 1 << 26
_MACHINES: Final = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm",
                    62: "x86-64", 183: "aarch64", 243: "riscv", 258: "loongarch"}  # fmt: skip
_NOT_ELF: Final = {
    b"!<arch>\n": "it is a static archive (ar); link against it, do not install it as a library",
    b"!<thin>\n": "it is a thin static archive (ar)",
    b"BC\xc0\xde": "it is LLVM bitcode, not linked code",
    b"\xca\xfe\xba\xbe": "it is a Mach-O or Java file",
    b"MZ": "it is a Windows PE file",
    b"#!": "it is a script",
}


# Nothing is matched twice: the bytes may be made to be slow.
_LINKER_SCRIPT: Final = re.compile(
    rb"\s*+(?>/\*.*?\*/\s*+)*+(?:INPUT|GROUP|OUTPUT_FORMAT|AS_NEEDED|SECTIONS|VERSION)\b",
    re.DOTALL,
)


class FileType(IntEnum):
    """e_type, gABI figure 4-4."""

    NONE = 0
    REL = 1
    EXEC = 2
    DYN = 3
    CORE = 4


class SegmentType(IntEnum):
    """p_type, gABI figure 5-2, and the GNU ones."""

    LOAD = 1
    DYNAMIC = 2
    INTERP = 3
    NOTE = 4
    TLS = 7
    GNU_EH_FRAME = 0x6474E550
    GNU_STACK = 0x6474E551
    GNU_RELRO = 0x6474E552
    GNU_PROPERTY = 0x6474E553


class SegmentFlags(IntFlag):
    """p_flags, gABI figure 5-3."""

    X = 1
    W = 2
    R = 4


class SectionType(IntEnum):
    """sh_type, gABI figure 4-9: the ones that are looked for."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    NOTE = 7
    NOBITS = 8
    REL = 9
    DYNSYM = 11
    INIT_ARRAY = 14
    FINI_ARRAY = 15
    PREINIT_ARRAY = 16
    GROUP = 17
    GNU_VERDEF = 0x6FFFFFFD
    GNU_VERNEED = 0x6FFFFFFE
    GNU_VERSYM = 0x6FFFFFFF


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header. Offsets, addresses and sizes in bytes."""

    type: int
    flags: SegmentFlags
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    align: int

    def holds(self, vaddr: int, size: int = 1) -> bool:
        """Whether [vaddr, vaddr + size) lies in the bytes that the file gives this segment."""
        return self.vaddr <= vaddr and vaddr + size <= self.vaddr + self.filesz


@dataclass(frozen=True, slots=True)
class Section:
    """One section header. Offsets, addresses and sizes in bytes."""

    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    entsize: int
    align: int


@dataclass(frozen=True, slots=True)
class Header:
    """The ELF header: what kind of file this is, and for which machine."""

    bits: int
    little_endian: bool
    os_abi: int
    abi_version: int
    type: int
    machine: int
    entry: int
    flags: int
    _phoff: int
    _shoff: int
    _phentsize: int
    _phnum: int
    _shentsize: int
    _shnum: int
    _shstrndx: int

    @property
    def machine_name(self) -> str:
        """The machine's usual name, or its number."""
        return _MACHINES.get(self.machine, f"machine {self.machine}")


@dataclass(frozen=True, slots=True)
class Target:
    """Which machine a file is for; two files that differ here cannot live in one process."""

    machine: int
    machine_name: str
    bits: int
    little_endian: bool

    def __str__(self) -> str:
        end = "little" if self.little_endian else "big"
        return f"{self.machine_name}, {self.bits}-bit, {end}-endian"


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
            raise self.bad(_what_it_is(bytes(self.data[:1024])))
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
    """The NUL-ended string of a string table; bytes that are no UTF-8 survive as surrogates.

    An offset outside the table gives the empty string, as gABI chapter 4 does for index 0. What is
    longer than `limit` (by default PATH_MAX, since most are names of files) is cut.
    """
    if not 0 <= offset < len(table):
        return ""
    last = min(offset + limit, len(table))
    end = table.find(b"\0", offset, last)
    return table[offset : end if end >= 0 else last].decode("utf-8", "surrogateescape")


def _what_it_is(start: bytes) -> str:
    for magic, words in _NOT_ELF.items():
        if start.startswith(magic):
            return words
    if _LINKER_SCRIPT.match(start):
        return "it is a linker script; name the library that it points to"
    return "it does not begin with the ELF magic number" if start else "it is empty"
