"""The bytes that an image lies in."""

import os
from typing import Protocol


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
