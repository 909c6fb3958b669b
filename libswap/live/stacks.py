"""What the live part of a thread's stack refers to, without knowing its frames."""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from libswap.linux.memory import Range
from libswap.process.maps import Mapping

MOST_LIVE_STACK: Final = 64 << 20
"""More than this many bytes above the stack pointer are not a stack that we know how to read."""

_WORD: Final = struct.Struct("<Q")
_HIGH_SHIFT: Final = 24
_SEGMENTS: Final = struct.pack("<4H", 0x33, 0, 0, 0x2B)
"""cs, gs, fs and ss in the `struct sigcontext_64` of every signal frame of 64-bit code."""
_STACK_POINTER: Final = -24
"""Where rsp lies, from there."""
_MOST_INTERRUPTED: Final = 4
_MOST_HIGH_PARTS: Final = 64


class Hit(NamedTuple):
    """A word that points into one of the ranges asked about.

    Attributes:
        at: where it was found; the program counter itself has -1.
        value: the word.
        area: the range that it points into.
    """

    at: int
    value: int
    area: Range


class Areas:
    """Address ranges, made ready to be looked up quickly."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges: Final = sorted({r for r in ranges if r.size > 0})
        self._starts = [r.start for r in self.ranges]
        self._reach = list(accumulate((r.end for r in self.ranges), max))
        high = {p for r in self.ranges for p in _high_parts(r)}
        self._needles: Final = [struct.pack("<Q", part << _HIGH_SHIFT)[3:] for part in sorted(high)]

    def find(self, address: int) -> Range | None:
        """The range that holds an address. Where ranges overlap, the one that starts last."""
        index = bisect_right(self._starts, address) - 1
        while index >= 0 and self._reach[index] > address:
            if address in self.ranges[index]:
                return self.ranges[index]
            index -= 1
        return None

    def hits(self, data: bytes, base: int, *, aligned: bool = True) -> list[Hit]:
        """The words of `data`, which lies at `base`, that point into a range.

        The search is for the five high bytes that all pointers into a range share, so that it runs
        at the speed of memory.
        """
        found = []
        for needle in self._needles:
            at = data.find(needle, 3)
            while at >= 0:
                if (not aligned or (base + at - 3) % 8 == 0) and at + 5 <= len(data):
                    (word,) = _WORD.unpack_from(data, at - 3)
                    area = self.find(word)
                    if area is not None:
                        found.append(Hit(base + at - 3, word, area))
                at = data.find(needle, at + 1)
        return found


def live_stack(stack_pointer: int, maps: Sequence[Mapping]) -> Range | None:
    """From the stack pointer to the end of the mapping that it lies in.

    That covers a thread's own stack, a signal stack and a coroutine's stack, whichever is in use.
    Of the others, only the one in use is seen, and by `interrupted_stacks` what a handler on it has
    interrupted: a coroutine that sleeps on a stack of its own is not on any thread's stack.

    Returns:
        None where the stack pointer points to nothing that is a stack.
    """
    for mapping in maps:
        if mapping.start <= stack_pointer < mapping.end:
            start = stack_pointer // 8 * 8
            live = Range(start, min(mapping.end, start + MOST_LIVE_STACK))
            return live if mapping.readable and mapping.writable else None
    return None


def has_signal_frame(data: bytes) -> bool:
    """Whether a signal handler may be running on a stack with this content, or has run there."""
    return _SEGMENTS in data


def interrupted_stacks(data: bytes, stack: Range, maps: Sequence[Mapping]) -> list[Range]:
    """Other stacks that code is live on: a handler on a signal stack has interrupted it there.

    Args:
        data: what is on the stack in use.
        stack: where that lies.
        maps: the mappings of the process.
    """
    found: dict[int, Range] = {}
    at = data.find(_SEGMENTS, -_STACK_POINTER)
    while at >= 0 and len(found) < _MOST_INTERRUPTED:
        (pointer,) = _WORD.unpack_from(data, at + _STACK_POINTER)
        other = live_stack(pointer, maps)
        if other is not None and other.end != stack.end:
            found[other.end] = min(other, found.get(other.end, other))
        at = data.find(_SEGMENTS, at + 1)
    return list(found.values())


def _high_parts(area: Range) -> Iterable[int]:
    first, last = area.start >> _HIGH_SHIFT, (area.end - 1) >> _HIGH_SHIFT
    if last - first >= _MOST_HIGH_PARTS:
        raise AssertionError("no code is that large")
    return range(first, last + 1)
