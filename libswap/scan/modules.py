"""What the dynamic linker reads in the files that a process has mapped."""

import os
from dataclasses import dataclass, field

from libswap.elf.dynamic import read_dynamic
from libswap.elf.format import SegmentType
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf
from libswap.linux.procmap import FileKey
from libswap.process.maps import DELETED
from libswap.scan.lookup import Lookup
from libswap.scan.witness import Witness


@dataclass(frozen=True, slots=True)
class Module:
    """One file as the dynamic linker knows it.

    Attributes:
        path: its name, for a reader.
        names: what others may call it in DT_NEEDED.
        needed: its own DT_NEEDED.
        interpreter: PT_INTERP, "" for none.
        soname: DT_SONAME, None for none.
    """

    path: str
    names: frozenset[str]
    needed: tuple[str, ...] = ()
    interpreter: str = ""
    soname: str | None = None


@dataclass(slots=True)
class Modules:
    """Reads each file once, however many processes map it."""

    _read: dict[FileKey, Module | None] = field(default_factory=dict)

    def of_process(self, witness: Witness, lookup: Lookup) -> dict[FileKey, Module | None]:
        """The modules that a process maps to execute; None for one that may not be read.

        Raises:
            OSError: the process has ended.
        """
        keys = {
            FileKey(m.inode, m.major, m.minor, m.name)
            for m in witness.mappings()
            if m.executable and m.inode
        }
        return {key: self.of(key, witness, lookup) for key in keys}

    def of(self, key: FileKey, witness: Witness, lookup: Lookup) -> Module | None:
        """The module that a mapped file is; None where it may not be read.

        Raises:
            OSError: the process has ended.
        """
        if key not in self._read:
            self._read[key] = _module(key, witness, lookup)
        return self._read[key]


def unread_module(key: FileKey) -> Module:
    """As much as a file's name says."""
    path = os.fsdecode(key.name.removesuffix(DELETED))
    return Module(path, frozenset({path, path.rpartition("/")[2]}))


def _module(key: FileKey, witness: Witness, lookup: Lookup) -> Module | None:
    mapping = next(iter(witness.of(key)), None)
    if mapping is not None and witness.may_open(mapping):
        image = witness.image(mapping)
    elif not key.name.endswith(DELETED):
        image = lookup.image(key.name)
        if image is None:
            return None
    else:
        return None
    return unread_module(key) if image is None else module_of(image, key)


def module_of(image: Image, key: FileKey) -> Module:
    """The module that an ELF file is; one that is damaged needs nothing and has but its name."""
    bare = unread_module(key)
    try:
        dynamic = read_dynamic(image)
        segment = image.segment(SegmentType.INTERP)
        interpreter = b""
        if segment is not None:
            interpreter = image.at_offset(segment.offset, segment.filesz, "the interpreter's name")
    except (InvalidElf, OSError):
        return bare
    if dynamic is None:
        return bare
    names = bare.names | ({dynamic.soname} if dynamic.soname else set())
    program = os.fsdecode(interpreter.rstrip(b"\0"))
    return Module(bare.path, frozenset(names), dynamic.needed, program, dynamic.soname)
