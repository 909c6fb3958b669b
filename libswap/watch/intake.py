"""Take a dropped file: copied once to an inode of ours, judged there, never by name again.

The name in the drop directory is looked up once. What is not a plain file of its own is refused
without being opened; between the look and the copy nothing is trusted but the open descriptor.
"""

import os
import stat
from dataclasses import dataclass
from typing import Final

from libswap.elf.contents import FileBytes
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf, SystemRefused
from libswap.errors.install import NoSpace
from libswap.errors.watch import DropRefused, DropUnsettled
from libswap.install.candidate import require_whole
from libswap.linux import files, leases
from libswap.linux.files import Directory, FileId
from libswap.operations.deployments import Drop
from libswap.watch.rule import Limits
from libswap.watch.settle import Look, Print
from libswap.watch.trust import others_write

_ELF: Final = b"\x7fELF"
_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a directory",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that was taken.

    Attributes:
        drop: what it was, with the hash of what was taken.
        path: of the private inode.
    """

    drop: Drop
    path: str


def drop_of(name: str, status: os.stat_result) -> Drop:
    """What stands in the drop directory, not looked into."""
    return Drop(name, FileId.of(status), status.st_size, status.st_mtime_ns)


def objection(status: os.stat_result, limits: Limits) -> str:
    """Why what has this stat cannot be taken whatever its bytes; "" where it can."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        return f"it is {_KINDS.get(kind, 'no file')}"
    if status.st_nlink != 1:
        return f"it has {status.st_nlink} hard links: another name could change it"
    if status.st_size > limits.file_bytes:
        return f"it has {status.st_size:,} bytes; {limits.file_bytes:,} are allowed"
    return ""


def look(directory: Directory, name: str, limits: Limits) -> Look | None:
    """See how far a file has come; None where it has gone. What cannot be taken counts as whole."""
    status = directory.lstat(name)
    if status is None:
        return None
    if objection(status, limits):
        return Look(Print.of(status), written=False, complete=True)
    descriptor = _open(directory, name)
    if descriptor is None:
        return None
    try:
        status = os.fstat(descriptor)
        written = leases.is_written(descriptor)
        return Look(Print.of(status), written, complete=_is_complete(descriptor, status.st_size))
    finally:
        os.close(descriptor)


def _is_complete(descriptor: int, size: int) -> bool:
    """Whether a file is whole as far as it says; a file that is no ELF says nothing."""
    beginning = os.pread(descriptor, len(_ELF), 0)
    if not size or beginning != _ELF[: len(beginning)]:
        return size > 0
    try:
        require_whole(Image(FileBytes(descriptor), "a drop"))
    except InvalidElf:
        return False
    return True


def take(
    directory: Directory,
    name: str,
    staging: Directory,
    limits: Limits,
    *,
    signed: bool,
    room: Directory,
) -> Staged:
    """Copy a file and hash the copy.

    Args:
        directory: the drop directory.
        name: of the file.
        staging: a private directory, where the copy gets the same name.
        limits: of the rule.
        signed: whether a signature will speak for it, whoever it belongs to.
        room: on whose file system there must be space for it.

    Raises:
        DropRefused: it is nothing that may be deployed.
        DropUnsettled: it went away, or changed meanwhile.
        NoSpace: the copy would leave less than is to stay free.
    """
    status = directory.lstat(name)
    if status is None:
        raise DropUnsettled(name)
    if reason := objection(status, limits):
        raise DropRefused(name, reason)
    if not signed and (reason := others_write(status, os.geteuid())):
        raise DropRefused(name, f"others could have written it: {reason}")
    _require_space(room, status.st_size, limits)
    source = _open(directory, name)
    if source is None:
        raise DropUnsettled(name)
    try:
        return _copied(source, Print.of(status), name, staging)
    finally:
        os.close(source)


def _require_space(room: Directory, size: int, limits: Limits) -> None:
    free = room.free_space()
    if free < size + limits.free_bytes:
        reason = (
            f"{size:,} bytes are needed, and {limits.free_bytes:,} of {free:,} are to stay free"
        )
        raise NoSpace(room.path, reason)


def _copied(source: int, expected: Print, name: str, staging: Directory) -> Staged:
    path = staging.join(name)
    target = staging.create(name)
    try:
        if Print.of(os.fstat(source)) != expected:
            raise DropUnsettled(name)
        if expected.size:
            files.copy(source, target, expected.size, path)
        digest = files.sha256(target, path)
        written = leases.is_written(source) is True
        whole = os.fstat(target).st_size == expected.size
        if written or not whole or Print.of(os.fstat(source)) != expected:
            raise DropUnsettled(name)
    finally:
        os.close(target)
    return Staged(Drop(name, expected.inode, expected.size, expected.mtime, digest), path)


def _open(directory: Directory, name: str) -> int | None:
    try:
        return directory.open(name)
    except SystemRefused:
        status = directory.lstat(name)
        if status is None or not files.is_regular(status):
            return None
        raise
