"""What is mounted where, in our mount namespace and in every other that we may look into."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libswap.linux.procfs import PROC, Procfs

_OCTAL: Final = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of proc_pid_mountinfo(5).

    Attributes:
        id: of this mount, unique among those that exist.
        parent: the id of the mount that it is mounted on.
        device: "major:minor" of its file system.
        root: which directory (or file) of the file system is mounted, as a path in it.
        point: where, as a path of the namespace that was read.
    """

    id: int
    parent: int
    device: str
    root: str
    point: str


def parse(mountinfo: bytes) -> tuple[Mount, ...]:
    """The mounts of one namespace; a line that is no such line is left out."""
    return tuple(_mounts(mountinfo))


def _mounts(mountinfo: bytes) -> Iterator[Mount]:
    for line in mountinfo.split(b"\n"):
        fields = line.split(b" ", 5)
        if len(fields) == 6 and fields[0].isdigit() and fields[1].isdigit():
            device, root, point = map(_text, fields[2:5])
            yield Mount(int(fields[0]), int(fields[1]), device, root, point)


def _text(field: bytes) -> str:
    r"""A path with blanks and the like as they are (the kernel writes \040)."""
    return os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), field))


@dataclass(frozen=True, slots=True)
class Place:
    """A file by its file system: the device, and the path inside it, whatever is mounted where."""

    device: str
    path: str


def place_of(path: str, mounts: Iterable[Mount]) -> Place | None:
    """Where the file system keeps what a real path of this namespace names.

    Args:
        path: absolute, without symbolic links.
        mounts: of the same namespace; of two on one point the later one covers the other.
    """
    best: Mount | None = None
    for mount in mounts:
        deeper = best is None or len(mount.point) >= len(best.point)
        if deeper and _below(path, mount.point) is not None:
            best = mount
    return None if best is None else _place(best, path)


def points_at(place: Place, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """The mounts whose mount point is this very file: replacing it would tear them off."""
    by_id = {mount.id: mount for mount in mounts}
    return tuple(
        mount
        for mount in by_id.values()
        if mount.parent in by_id and _place(by_id[mount.parent], mount.point) == place
    )


def mounts_of(place: Place, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """The mounts that show this very file elsewhere: they stay with the old inode for ever."""
    return tuple(m for m in mounts if Place(m.device, m.root) == place)


def own(procfs: Procfs = PROC) -> tuple[Mount, ...]:
    """The mounts of our own namespace."""
    return parse(procfs.read("self", "mountinfo"))


def others(procfs: Procfs = PROC) -> dict[int, tuple[Mount, ...]]:
    """The mounts of every other mount namespace, by the lowest PID that lives in it.

    Namespaces whose processes we may not look at, or which end meanwhile, are missing.
    """
    ours = procfs.link("self", "ns/mnt")
    first: dict[str, int] = {}
    for pid in sorted(procfs.pids()):
        with suppress(OSError):
            first.setdefault(procfs.link(pid, "ns/mnt"), pid)
    found = {}
    for namespace, pid in first.items():
        if namespace != ours:
            with suppress(OSError):
                found[pid] = parse(procfs.read(pid, "mountinfo"))
    return found


def _place(mount: Mount, path: str) -> Place | None:
    rest = _below(path, mount.point)
    return None if rest is None else Place(mount.device, _join(mount.root, rest))


def _below(path: str, above: str) -> str | None:
    """What follows `above` in `path`, "" for the same, None where `path` is not below it."""
    if path == above:
        return ""
    prefix = above.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _join(root: str, rest: str) -> str:
    return f"{root.rstrip('/')}/{rest}" if rest else root
