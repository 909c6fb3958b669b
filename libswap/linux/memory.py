"""The memory of another process: reads that wait for nobody, writes to read-only pages too.

All of it goes through /proc/PID/mem. process_vm_readv(2) is as fast, but waits for the owner of a
userfaultfd(2) where a page is missing, up to a fatal signal; here the read fails at once.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, Self

from libswap.errors.process import MemoryUnreachable, ProcessGone
from libswap.linux import death
from libswap.linux.untouched import Untouched

_PAGE: Final = 4096
_PIECE: Final = 1 << 16
_END: Final = 1 << 63
_MOST: Final = 1 << 30
"""Bytes of one read: a size can come from memory that a stranger has written."""


class Memory(Protocol):
    """Whatever has bytes at addresses: a process, or a fake made of a few strings."""

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes.

        Raises:
            MemoryUnreachable: part of them is not mapped.
            ProcessGone: the process ended or executed another program.
        """


class Range(NamedTuple):
    """Addresses from `start` up to, not including, `end`."""

    start: int
    end: int

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.start <= address < self.end

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """By ascending address, those that overlap as one; ranges that only touch stay apart."""
    found: list[Range] = []
    for piece in sorted(ranges):
        if found and piece.start < found[-1].end:
            found[-1] = Range(found[-1].start, max(found[-1].end, piece.end))
        else:
            found.append(piece)
    return tuple(found)


class ProcessMemory:
    """The address space that a process has now, even if it executes another program later.

    /proc/PID/mem is tied to the address space at the moment it is opened: what is written through
    it can never land in a later process with the same PID, nor in the program of a later exec.
    """

    def __init__(self, tid: int) -> None:
        """Open it through a thread that has not exited (a dead group leader has no memory)."""
        self.tid: Final = tid
        self._piece: Final = bytearray(_PIECE)
        self._untouched: Untouched | None = None
        try:
            self._descriptor = os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessGone(tid) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._untouched is not None:
            self._untouched.close()
            self._untouched = None

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`; reads pages without read permission too."""
        data = self._pread(address, size)
        while len(data) < size:
            more = self._pread(address + len(data), size - len(data))
            data += more
        return data

    def read_string(self, address: int, limit: int = 4096) -> bytes:
        """The bytes up to a NUL, at most `limit` of them."""
        data = b""
        while b"\0" not in data and len(data) < limit:
            at = address + len(data)
            data += self.read(at, min(_PAGE - at % _PAGE, limit - len(data)))
        return data.split(b"\0", 1)[0]

    def read_many(self, ranges: Sequence[Range]) -> list[bytes]:
        """Several ranges, each as `read` does."""
        return [self.read(r.start, r.end - r.start) for r in ranges]

    def holds(self, address: int, content: bytes | memoryview) -> bool:
        """Whether these bytes lie there; raises as `read` does.

        Piece by piece into the same memory, which takes a third of the time for what is large.
        """
        wanted = memoryview(content)
        for at in range(0, len(wanted), _PIECE):
            piece = wanted[at : at + _PIECE]
            if len(piece) == _PIECE and self._filled(address + at):
                same = self._piece == piece
            else:
                same = self.read(address + at, len(piece)) == bytes(piece)
            if not same:  # bytes and a view would be compared one by one
                return False
        return True

    def untouched(self, area: Range) -> list[Range]:
        """Pages within an area that are zeros, for nobody has written to them.

        As far as the kernel tells: there may be more.
        """
        if self._untouched is None:
            self._untouched = Untouched(self.tid)
        return [Range(*found) for found in self._untouched.within(area.start, area.end)]

    def write(self, address: int, data: bytes) -> None:
        """Write through any protection: read-only private pages become copies of their own.

        Raises:
            MemoryUnreachable: part of the range is not mapped, or is a shared read-only page.
            ProcessGone: the process ended or executed another program.
        """
        if not 0 <= address < _END:
            raise MemoryUnreachable(self.tid, address, len(data))
        death.step()
        done = 0
        while done < len(data):
            try:
                count = os.pwrite(self._descriptor, data[done:], address + done)
            except OSError as error:
                raise self._translated(error, address + done, len(data) - done) from None
            if count == 0:
                raise ProcessGone(self.tid)
            done += count

    def _filled(self, address: int) -> bool:
        try:
            return os.preadv(self._descriptor, [self._piece], address) == _PIECE
        except OSError:
            return False  # who reads it then says why

    def _pread(self, address: int, size: int) -> bytes:
        if not 0 <= address < _END or not 0 <= size <= _MOST:
            raise MemoryUnreachable(self.tid, address, size)
        try:
            data = os.pread(self._descriptor, size, address)
        except OSError as error:
            raise self._translated(error, address, size) from None
        if not data and size:
            raise ProcessGone(self.tid)
        return data

    def _translated(self, error: OSError, address: int, size: int) -> Exception:
        if error.errno in (errno.ESRCH, errno.EBADF):
            return ProcessGone(self.tid)
        if error.errno in (errno.EIO, errno.EFAULT, errno.EOVERFLOW, errno.EINVAL):
            return MemoryUnreachable(self.tid, address, size)
        return error
