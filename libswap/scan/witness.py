"""A process that maps a file, asked what that file really is."""

import errno
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from libswap.elf.contents import FileBytes
from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.errors.base import InvalidElf
from libswap.errors.process import MemoryUnreachable
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey, ProcmapQuery
from libswap.linux.rooted import reopen_regular
from libswap.process.maps import Mapping, parse

if TYPE_CHECKING:
    from libswap.elf.link_map import LinkMap

PAGE: Final = os.sysconf("SC_PAGESIZE")
_MOST_READS: Final = 1 << 13
"""Of one link map: enough for two thousand modules, and less than a tenth of a second."""
_MOST_READS_TOGETHER: Final = 1 << 18
"""Of all that one scan reads: enough for a thousand processes, and a second or two."""
_REFUSED: Final = (errno.EPERM, errno.EACCES)


class LinkMapTooLong(Exception):
    """A list of loaded modules would take more reads than may be spent on it."""


@dataclass(slots=True)
class Reads:
    """The reads that the link maps of many processes may cost together.

    A process can make its lists long, and whoever started it can start hundreds.

    Attributes:
        left: so many still.
    """

    left: int = _MOST_READS_TOGETHER


@dataclass(slots=True)
class Witness:
    """One process's mappings, read once, and the files behind them.

    /proc/PID/map_files/RANGE leads to the mapped inode itself: its stat is right where the text of
    maps is not (btrfs, overlayfs), and it opens what has no name any more. It takes
    CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN (proc_pid_map_files(5)); without, less is known.

    Attributes:
        pid: the process.
        procfs: where it is looked at.
        reads: what following its link map is taken from.
    """

    pid: int
    procfs: Procfs = PROC
    reads: Reads = field(default_factory=Reads)
    _mappings: tuple[Mapping, ...] | None = field(default=None, init=False)
    _link_maps: "tuple[LinkMap, ...] | None" = field(default=None, init=False)
    _left: int = field(default=_MOST_READS, init=False)

    def mappings(self) -> tuple[Mapping, ...]:
        """Every mapping of the process; raises the kernel's OSError."""
        if self._mappings is None:
            text = self.procfs.read(self.pid, "maps")
            self._mappings = tuple(map(self._true_name, parse(text)))
        return self._mappings

    def _true_name(self, mapping: Mapping) -> Mapping:
        r"""Tell a newline in a name from the four characters \012, where we may."""
        if b"\n" not in mapping.name:
            return mapping
        with suppress(OSError):
            return mapping._replace(name=os.fsencode(os.readlink(self._link(mapping))))  # noqa: PTH115
        return mapping

    def of(self, key: FileKey) -> tuple[Mapping, ...]:
        """The mappings of one file, in ascending order; of any name where the key has none."""
        wanted = key._replace(name=mangled(key.name))
        return tuple(
            m
            for m in self.mappings()
            if m.inode == wanted.inode
            and (m.major, m.minor) == (wanted.major, wanted.minor)
            and wanted.name in (mangled(m.name), b"")
        )

    def loaded_as(self, key: FileKey) -> str | None:
        """By which name the dynamic linker opened a file, as the process itself keeps it (l_name).

        None where the process's memory may not be read, or says nothing of the file.

        Raises:
            LinkMapTooLong: it would take too many reads to find out.
        """
        mappings = self.of(key)
        names = (
            one.name
            for one in self._linked()
            if any(m.start <= one.dynamic < m.end for m in mappings)
        )
        return next(filter(None, names), None)

    def _linked(self) -> "tuple[LinkMap, ...]":
        from libswap.elf.link_map import parse_auxv, read_loader  # noqa: PLC0415  rarely asked
        from libswap.errors.live import LinkMapUnreadable  # noqa: PLC0415

        if self._link_maps is None:
            found: tuple[LinkMap, ...] = ()
            with suppress(LinkMapUnreadable, OSError):
                auxv = parse_auxv(self.procfs.read(self.pid, "auxv"))
                descriptor = os.open(self.procfs.path(self.pid, "mem"), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    found = read_loader(_Memory(self, descriptor), auxv).maps
                finally:
                    os.close(descriptor)
            self._link_maps = found
        return self._link_maps

    def _spend(self) -> None:
        """One read of the link map."""
        if not self._left or not self.reads.left:
            raise LinkMapTooLong
        self._left -= 1
        self.reads.left -= 1

    def status(self, mapping: Mapping) -> os.stat_result | None:
        """The mapped inode's own stat, or None where the kernel does not let us have it.

        Raises:
            OSError: the mapping or the process is gone.
        """
        try:
            return os.stat(self._link(mapping))  # noqa: PTH116  one of very many
        except OSError as error:
            if error.errno in _REFUSED:
                return None
            raise

    def image(self, mapping: Mapping) -> Image | None:
        """The mapped file, even a deleted one; None where it is no ELF file or we may not read it.

        Raises:
            OSError: the mapping or the process is gone.
        """
        descriptor = self.open(mapping)
        return None if descriptor is None else image_of(descriptor, os.fsdecode(mapping.name))

    def may_open(self, mapping: Mapping) -> bool:
        """Whether the kernel lets us at the mapped inode itself; raises OSError when it is gone."""
        return self.status(mapping) is not None

    def open(self, mapping: Mapping) -> int | None:
        """A descriptor of the mapped regular file, or None where we may not have one.

        Raises:
            OSError: the mapping or the process is gone.
        """
        try:
            handle = os.open(self._link(mapping), os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _REFUSED:
                return None
            raise
        try:
            return reopen_regular(handle, mapping.name)
        except OSError:
            return None
        finally:
            os.close(handle)

    def build_id(self, mapping: Mapping) -> str | None:
        """The build id of the mapped file as its inode is now, or None for none that we can see.

        Raises:
            OSError: the mapping or the process is gone.
        """
        image = self.image(mapping)
        if image is not None:
            return build_id_of(image)
        return self._queried_build_id(mapping)

    def memory(self, address: int, size: int) -> bytes | None:
        """`size` bytes of the process's memory, or None where it may not be read."""
        return self._read_at("mem", address, size)

    def _read_at(self, name: str, offset: int, size: int) -> bytes | None:
        try:
            descriptor = os.open(self.procfs.path(self.pid, name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return _read(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def page_flags(self, address: int, count: int) -> tuple[int, ...] | None:
        """The pagemap entries of `count` pages (proc_pid_pagemap(5)), or None where refused."""
        data = self._read_at("pagemap", address // PAGE * 8, count * 8)
        return None if data is None else struct.unpack(f"={count}Q", data)

    def _queried_build_id(self, mapping: Mapping) -> str | None:
        descriptor = os.open(self.procfs.path(self.pid, "maps"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return ProcmapQuery().build_id(descriptor, mapping.start)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EINVAL):
                return None
            raise
        finally:
            os.close(descriptor)

    def _link(self, mapping: Mapping) -> str:
        return self.procfs.path(self.pid, f"map_files/{mapping.start:x}-{mapping.end:x}")


@dataclass(slots=True)
class _Memory:
    """The memory of a witness as who follows a link map reads it, so often and no more."""

    witness: Witness
    descriptor: int

    def read(self, address: int, size: int) -> bytes:
        """See `libswap.linux.memory.Memory.read`."""
        self.witness._spend()  # noqa: SLF001  its other half
        data = _read(self.descriptor, size, address)
        if data is None:
            raise MemoryUnreachable(self.witness.pid, address, size)
        return data


def _read(descriptor: int, size: int, offset: int) -> bytes | None:
    try:
        data = os.pread(descriptor, size, offset)
    except (OSError, OverflowError):
        return None
    return data if len(data) == size else None


def image_of(descriptor: int, name: str) -> Image | None:
    """The ELF file that a descriptor reads, which is closed; None when it is none."""
    try:
        return Image(FileBytes(descriptor), name)
    except (InvalidElf, OSError):
        return None
    finally:
        os.close(descriptor)


def build_id_of(image: Image) -> str | None:
    """The build id, or None for a damaged file too."""
    try:
        return build_id(image)
    except (InvalidElf, OSError):
        return None


def mangled(name: bytes) -> bytes:
    r"""A name as maps shows it, where newline and \012 look the same."""
    return name.replace(b"\n", rb"\012")
