"""Directories held open, and the changes in them that a crash cannot tear.

Every name is looked up below a directory descriptor (openat(2) and its kin), so that a path whose
parents are moved or replaced meanwhile cannot lead a change elsewhere. Nothing here opens an
existing file for writing.
"""

import ctypes
import errno
import fcntl
import os
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

from libswap.errors.base import SystemRefused
from libswap.linux import libc

FICLONE: Final = 0x40049409  # linux/fs.h
RENAME_NOREPLACE: Final = 1  # renameat2(2)
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_MASK_AT, _STATX_BTIME_AT, _STATX_SIZE = 0, 80, 256  # struct statx, statx(2)
_CHUNK: Final = 1 << 20
_KERNEL_CHUNK: Final = 1 << 30
_NOT_HERE: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM}
)
"""What a kernel or a file system says that lacks an operation, or lacks it for these two files."""


@dataclass(frozen=True, slots=True, order=True)
class FileId:
    """Which inode: the number of its file system's device, and its own."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The inode that a stat is about."""
        return cls(status.st_dev, status.st_ino)


class CopyMethod(Enum):
    """How bytes came from one file into another."""

    CLONE = "clone"
    KERNEL = "copy_file_range"
    READ_WRITE = "read and write"


@contextmanager
def refusal(action: str, path: str) -> Iterator[None]:
    """Turn an `OSError` inside into our own error.

    Raises:
        NoSpace: ENOSPC or EDQUOT.
        SystemRefused: every other.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            from libswap.errors.install import NoSpace  # noqa: PLC0415  a scan comes without it

            raise NoSpace(path, reason) from error
        raise SystemRefused(action, path, reason) from error


class Directory:
    """An open directory: names in it are names, not paths.

    Attributes:
        path: what it was opened as, for messages.
        descriptor: the open directory.
    """

    def __init__(self, path: str, above: "Directory | None" = None) -> None:
        """Open a directory; the last part of `path` may be no symbolic link.

        Args:
            path: of the directory.
            above: an open directory that holds it; then only the last part of `path` is looked up.

        Raises:
            SystemRefused: it is none, or may not be opened.
        """
        self.path = path
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        name = path if above is None else path.rpartition("/")[2]
        below = None if above is None else above.descriptor
        with refusal("open the directory", path):
            self.descriptor: int = os.open(name, flags, dir_fd=below)

    @classmethod
    def make(cls, path: str, mode: int) -> Self:
        """Open a directory, made first where it is missing, with its parents, and synced.

        Raises:
            SystemRefused, NoSpace: it cannot be made or opened.
        """
        if not Path(path).is_dir():
            parent, name = os.path.split(path.rstrip("/"))
            with cls.make(parent, 0o755) as above:
                above.make_below(name, mode)
                above.sync()
        return cls(os.path.realpath(path))

    def make_below(self, name: str, mode: int) -> None:
        """Make a directory in this one, where there is none."""
        with refusal("make the directory", self.join(name)), suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=self.descriptor)

    def below(self, name: str) -> "Directory":
        """Open a directory in this one, whatever has become of the path of this one.

        Raises:
            SystemRefused: it is none, a link, or may not be opened.
        """
        return Directory(self.join(name), self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it, where no `with` does."""
        os.close(self.descriptor)

    def join(self, name: str) -> str:
        """The path of a name in it, for messages."""
        return f"{self.path.rstrip('/')}/{name}"

    @property
    def status(self) -> os.stat_result:
        """Its own stat(2)."""
        return os.fstat(self.descriptor)

    def may_be_changed(self) -> bool:
        """Whether we have the right to make, rename and remove names in it."""
        wanted = os.W_OK | os.X_OK
        return os.access(".", wanted, dir_fd=self.descriptor, effective_ids=True)

    def free_space(self) -> int:
        """Bytes that we could still write to its file system, as far as that keeps count."""
        status = os.fstatvfs(self.descriptor)
        if not status.f_blocks:  # proc, and servers of FUSE that do not say: writing will tell
            return sys.maxsize
        blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail
        return blocks * status.f_frsize

    def names(self) -> tuple[str, ...]:
        """Every name in it, sorted."""
        with refusal("list", self.path):
            return tuple(sorted(os.listdir(self.descriptor)))  # noqa: PTH208  pathlib takes no descriptor

    def lstat(self, name: str) -> os.stat_result | None:
        """What a name stands for, links not followed; None where there is nothing."""
        with refusal("look at", self.join(name)), suppress(FileNotFoundError):
            return os.lstat(name, dir_fd=self.descriptor)
        return None

    def readlink(self, name: str) -> str:
        """The text of a symbolic link."""
        with refusal("read the link", self.join(name)):
            return os.readlink(name, dir_fd=self.descriptor)

    def open(self, name: str) -> int:
        """A descriptor to read a file from; never follows a link, never waits for a FIFO."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with refusal("open", self.join(name)):
            return os.open(name, flags, dir_fd=self.descriptor)

    def create(self, name: str, mode: int = 0o600) -> int:
        """A descriptor of a file that did not exist before, to write and read."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with refusal("create", self.join(name)):
            return os.open(name, flags, mode, dir_fd=self.descriptor)

    def symlink(self, name: str, text: str) -> None:
        """Make a symbolic link where there was nothing."""
        with refusal("create the link", self.join(name)):
            os.symlink(text, name, dir_fd=self.descriptor)

    def link(self, name: str, other: Self, new_name: str) -> bool:
        """Give the inode behind `name` a second name in another directory.

        Returns:
            Whether it has one; False where the file system or its policy gives none (another
            device, no hard links, too many, fs.protected_hardlinks).
        """
        try:
            os.link(
                name,
                new_name,
                src_dir_fd=self.descriptor,
                dst_dir_fd=other.descriptor,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno in _NOT_HERE or error.errno == errno.EMLINK:
                return False
            with refusal("link", other.join(new_name)):
                raise
        return True

    def rename(self, name: str, new_name: str, *, replace: bool = True) -> None:
        """Move a name within this directory, atomically.

        Args:
            name: what is moved.
            new_name: where to.
            replace: whether it takes the place of what stands there; if not, that is EEXIST.
        """
        with refusal("rename to", self.join(new_name)):
            if replace or not self._rename_to_nothing(name, new_name):
                os.rename(name, new_name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def move(self, name: str, other: "Directory", new_name: str) -> bool:
        """Move a name to another directory of the same file system, where nothing has that name.

        Returns:
            Whether it was moved; False where there is no such name, or the new one is taken.
        """
        with refusal("move to", other.join(new_name)):
            try:
                if not self._rename_to_nothing(name, new_name, other):
                    fds = self.descriptor, other.descriptor
                    os.rename(name, new_name, src_dir_fd=fds[0], dst_dir_fd=fds[1])
            except (FileNotFoundError, FileExistsError):
                return False
        return True

    def _rename_to_nothing(
        self, name: str, new_name: str, other: "Directory | None" = None
    ) -> bool:
        there = other or self
        names = os.fsencode(name), os.fsencode(new_name)
        try:
            libc.check(
                libc.renameat2(
                    self.descriptor, names[0], there.descriptor, names[1], RENAME_NOREPLACE
                )
            )
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            if there.lstat(new_name) is not None:  # a file system without the flag: nearly as good
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            return False
        return True

    def unlink(self, name: str) -> bool:
        """Remove a name; returns whether it was there."""
        with refusal("remove", self.join(name)):
            try:
                os.unlink(name, dir_fd=self.descriptor)
            except FileNotFoundError:
                return False
        return True

    def sync(self) -> None:
        """Make the names in it outlive a power cut (fsync(2) of the directory)."""
        sync(self.descriptor, self.path)


def sync(descriptor: int, path: str) -> None:
    """Make a file's bytes and attributes outlive a power cut (fsync(2))."""
    with refusal("sync", path):
        os.fsync(descriptor)


def write_all(descriptor: int, data: bytes, path: str) -> None:
    """Write everything, whatever pieces the kernel takes it in."""
    view = memoryview(data)
    with refusal("write", path):
        while view:
            view = view[os.write(descriptor, view) :]


def copy(source: int, target: int, size: int, path: str) -> CopyMethod:
    """Fill an empty file with another's bytes, the cheapest way that both file systems know.

    Args:
        source: descriptor to read from, from its beginning.
        target: descriptor of an empty file to write to.
        size: bytes to copy at most; a source that grows meanwhile cannot fill the disk.
        path: what the target is called in an error.

    Returns:
        How it was done.
    """
    with refusal("write", path):
        try:
            fcntl.ioctl(target, FICLONE, source)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
        else:
            return CopyMethod.CLONE
        return _copy_bytes(source, target, size)


def _copy_bytes(source: int, target: int, size: int) -> CopyMethod:
    done = 0
    try:
        while count := os.copy_file_range(
            source, target, min(size - done, _KERNEL_CHUNK), done, done
        ):
            done += count
    except OSError as error:
        if error.errno not in _NOT_HERE or done:
            raise
    if done:
        return CopyMethod.KERNEL
    # copy_file_range(2), BUGS: gives 0 for files of some pseudo file systems that are not empty
    while data := os.pread(source, min(size - done, _CHUNK), done):
        done += _write_at(target, data, done)
    return CopyMethod.READ_WRITE


def _write_at(target: int, data: bytes, offset: int) -> int:
    view = memoryview(data)
    while view:
        count = os.pwrite(target, view, offset)
        view, offset = view[count:], offset + count
    return len(data)


def sha256(descriptor: int, path: str) -> str:
    """The SHA-256 of a file's bytes from its beginning, in hexadecimal."""
    import hashlib  # noqa: PLC0415  a scan comes without it

    digest, offset = hashlib.sha256(), 0
    with refusal("read", path):
        while data := os.pread(descriptor, _CHUNK, offset):
            digest.update(data)
            offset += len(data)
    return digest.hexdigest()


def birth_time(descriptor: int) -> int | None:
    """When the inode was made, in nanoseconds since the epoch; None where nobody recorded it."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    libc.check(libc.statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer))
    if not struct.unpack_from("I", buffer, _STATX_MASK_AT)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("qI", buffer, _STATX_BTIME_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def is_regular(status: os.stat_result) -> bool:
    """Whether a stat is about a regular file."""
    return stat.S_ISREG(status.st_mode)


def is_link(status: os.stat_result) -> bool:
    """Whether a stat is about a symbolic link."""
    return stat.S_ISLNK(status.st_mode)


def is_read_only(descriptor: int) -> bool:
    """Whether an open file lies on a mount or a file system that takes no writes."""
    return bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)
