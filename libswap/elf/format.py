"""The numbers of the ELF format, and the rows of its tables.

Sources: System V gABI chapters 4 and 5, elf(5).
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

EM_386: Final = 3
EM_X86_64: Final = 62
EM_AARCH64: Final = 183
_MACHINES: Final = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm",
                    62: "x86-64", 183: "aarch64", 243: "riscv", 258: "loongarch"}  # fmt: skip


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
