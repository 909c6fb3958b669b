"""What a process is expected to hold, to be compared quickly while it stands still."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from libswap.linux.memory import ProcessMemory, Range

_LARGE: Final = 1 << 16
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """Bytes at an address.

    Attributes:
        address: of the first.
        content: all of them.
        zeros: pieces of it to which nobody had written when it was made; while the kernel says the
            same of them, nothing has to be read.
        others: the rest.
    """

    address: int
    content: bytes
    zeros: tuple[Range, ...]
    others: tuple[Range, ...]

    @classmethod
    def of(cls, memory: ProcessMemory, address: int, content: bytes) -> Self:
        """Look where the process has untouched pages now; the program may go on meanwhile."""
        area = Range(address, address + len(content))
        found = memory.untouched(area) if area.size >= _LARGE else []
        zeros, others, at = [], [], area.start
        for piece in (p for one in found for p in _pieces(one)):
            if content[piece.start - address : piece.end - address] != bytes(piece.size):
                continue  # it is not what was read before
            zeros.append(piece)
            if at < piece.start:
                others.append(Range(at, piece.start))
            at = piece.end
        if at < area.end:
            others.append(Range(at, area.end))
        return cls(address, content, tuple(zeros), tuple(others))

    def holds(self, memory: ProcessMemory) -> bool:
        """Whether these bytes lie there; raises as reading does."""
        now = memory.untouched(Range(self.address, self.zeros[-1].end)) if self.zeros else []
        doubtful = [z for z in self.zeros
                    if not any(n.start <= z.start and z.end <= n.end for n in now)]  # fmt: skip
        view = memoryview(self.content)
        return all(
            memory.holds(part.start, view[part.start - self.address : part.end - self.address])
            for part in (*self.others, *doubtful)
        )


def _pieces(whole: Range) -> Iterator[Range]:
    """One of them that is written to leaves the others what they are."""
    for start in range(whole.start, whole.end, _PIECE):
        yield Range(start, min(start + _PIECE, whole.end))
