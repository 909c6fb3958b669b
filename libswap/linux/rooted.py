"""Paths looked up inside another root directory, which they cannot leave (openat2(2))."""

import ctypes
import errno
import os
import stat
from types import TracebackType
from typing import Final, Self

from libswap.linux import libc

_OPENAT2: Final = 437
"""The same number on every machine but alpha (syscalls of Linux 5.6)."""
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_IN_ROOT: Final = 0x10


class _OpenHow(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class Root:
    """A directory that plays the root: absolute links and ".." in a path stay below it.

    A path below /proc/PID/root that is simply opened follows an absolute link to *our* root, so
    that whoever owns the other root decides which of our files we read.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over an open directory."""
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: str) -> Self:
        """Use the directory at `path`; raises the kernel's OSError."""
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._descriptor)

    def stat(self, path: str | bytes, *, follow: bool = True) -> os.stat_result:
        """The facts of the file at `path`; raises the kernel's OSError.

        Args:
            path: from this root, with or without a slash in front.
            follow: whether a link as the last part is followed.
        """
        descriptor = self._open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def open_regular(self, path: str | bytes) -> int:
        """A descriptor to read a regular file by; raises the kernel's OSError.

        Nothing else is opened, for opening a device or a pipe can already do something.
        """
        descriptor = self._open(path, os.O_PATH)
        try:
            return reopen_regular(descriptor, path)
        finally:
            os.close(descriptor)

    def _open(self, path: str | bytes, flags: int) -> int:
        how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        return libc.check(
            libc.syscall(
                _OPENAT2, self._descriptor, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)
            ),
            path,
        )


def reopen_regular(descriptor: int, path: str | bytes) -> int:
    """Open for reading what an O_PATH descriptor stands for, when it is a regular file."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
