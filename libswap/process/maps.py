"""The memory mappings of a process, parsed from the text of proc_pid_maps(5)."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from libswap.errors.process import ProcessGone, ProcessUnreadable
from libswap.linux.procfs import PROC, Procfs

DELETED: Final = b" (deleted)"
"""What the kernel adds to the name of a file with no name left; a name may also end so."""

_LINE: Final = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) "
    rb"([0-9]+) *([^\n]*)\n"
)


class Mapping(NamedTuple):
    """One mapping. Addresses and the offset in bytes.

    Attributes:
        start: first address.
        end: first address behind it.
        offset: where in the file it begins.
        major: device number of the file's superblock; stat(2) may show another (btrfs, overlayfs).
        minor: see `major`.
        inode: 0 for memory without a file.
        name: path as d_path() in the kernel writes it, seen from our root, or a name like
            b"[heap]"; b"" for none.
        readable: PROT_READ.
        writable: PROT_WRITE.
        executable: PROT_EXEC.
        shared: MAP_SHARED.
    """

    start: int
    end: int
    offset: int
    major: int
    minor: int
    inode: int
    name: bytes
    readable: bool = True
    writable: bool = False
    executable: bool = True
    shared: bool = False


def parse(text: bytes) -> Iterator[Mapping]:
    r"""Every mapping in the text of a maps file.

    The kernel writes a newline in a name as \012 and leaves a backslash alone, so that a name with
    the four characters \012 in it cannot be told from one with a newline; the links in map_files
    can.
    """
    for match in _LINE.finditer(text):
        start, end, r, w, x, s, offset, major, minor, inode, name = match.groups()
        yield Mapping(
            int(start, 16), int(end, 16), int(offset, 16), int(major, 16), int(minor, 16),
            int(inode), name.replace(rb"\012", b"\n"), r == b"r", w == b"w", x == b"x", s == b"s",
        )  # fmt: skip


def maps_of(pid: int, procfs: Procfs = PROC) -> tuple[Mapping, ...]:
    """The mappings of a process, in ascending order; none for a kernel thread.

    Raises:
        ProcessGone: it has ended.
        ProcessUnreadable: we may not look at it.
    """
    try:
        return tuple(parse(procfs.read(pid, "maps")))
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    except PermissionError as error:
        raise ProcessUnreadable(pid, error.strerror or "") from None
