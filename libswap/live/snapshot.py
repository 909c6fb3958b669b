"""The writable data of a library at one moment, beside what it began with."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.linux.memory import Memory, Range
from libswap.live.bound import bound
from libswap.live.module import Module
from libswap.live.writable import Initial, initial, writable_ranges

_WORD: Final = 8


class Change(NamedTuple):
    """Changed bytes: the first and the last address, and how many there are."""

    first: int
    last: int
    size: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One writable range, in the file's terms.

    Attributes:
        first: what the dynamic linker left there.
        begin: the same; where that is not known, what is there now, if it can be that, else
            something else.
        now: what is there.
    """

    first: Initial
    begin: bytes
    now: bytes

    @property
    def place(self) -> Range:
        """Where it is."""
        return self.first.place

    def of(self, part: Range) -> tuple[bytes, bytes]:
        """What a part of it held at first, and holds."""
        start = max(part.start - self.place.start, 0)
        end = max(part.end - self.place.start, 0)
        return self.begin[start:end], self.now[start:end]

    def differs(self, part: Range) -> bool:
        """Whether any of it changed."""
        begin, now = self.of(part)
        return begin != now

    def change(self, part: Range) -> Change | None:
        """What of it changed; there are buffers of megabytes, so no byte is looked at by itself."""
        begin, now = self.of(part)
        if begin == now:
            return None
        mixed = int.from_bytes(begin, "little") ^ int.from_bytes(now, "little")
        first = ((mixed & -mixed).bit_length() - 1) // 8
        last = (mixed.bit_length() - 1) // 8
        same = mixed.to_bytes(len(now), "little").count(0)
        return Change(part.start + first, part.start + last, len(now) - same)


def snapshots(memory: Memory, module: Module, modules: Sequence[Module]) -> tuple[Snapshot, ...]:
    """All of it, read once: so what is decided and what is guarded are of one moment.

    Args:
        memory: of the process.
        module: whose data.
        modules: all of the process, to whose symbols its words may be bound.
    """
    found = []
    firsts = [initial(module.facts, p, module.base) for p in writable_ranges(module.facts)]
    known = bound(module, {f.place.start + at for f in firsts for at in f.unknown}, modules)
    for first in firsts:
        place = first.place
        now = memory.read(module.base + place.start, place.size)
        begin = bytearray(first.contents)
        for at in first.unknown:
            word, possible = now[at : at + _WORD], known.get(place.start + at)
            if possible is None or possible.may_be(int.from_bytes(word, "little")):
                begin[at : at + _WORD] = word
            else:
                begin[at : at + _WORD] = bytes(_WORD) if any(word) else b"\xff" * _WORD
        found.append(Snapshot(first, bytes(begin), now))
    return tuple(found)


def words_into(data: bytes, address: int, extent: Range) -> Iterator[tuple[int, int]]:
    """The aligned words of some bytes that lie at an address and lead into a range.

    Yields:
        Address and value.
    """
    skip = -address % _WORD
    words = array("Q")
    words.frombytes(data[skip : skip + max(len(data) - skip, 0) // _WORD * _WORD])
    low, high = extent
    start = address + skip
    return ((start + _WORD * index, word) for index, word in enumerate(words) if low <= word < high)
