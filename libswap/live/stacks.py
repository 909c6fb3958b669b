"""What the live part of a thread's stack refers to, without knowing its frames."""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_MOST_STACKS: Final = 16
_MOST_SIGNAL_FRAMES: Final = 1000
_MOST_HIGH_PARTS: Final = 128


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


class Untraceable(Exception):
    """More is live below a stack pointer than can be looked at while a process stands still."""


class Areas:
    """Address ranges, made ready to be looked up quickly."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self.ranges: Final = sorted({r for r in ranges if r.size > 0})
        self._starts = [r.start for r in self.ranges]
        self._reach = list(accumulate((r.end for r in self.ranges), max))
        self._needles: Final = _needles(self.ranges)
        low = [] if b"" in self._needles else self.ranges
        self._low: Final = [r for r in low if not r.start >> _HIGH_SHIFT]

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

        The search is for the high bytes that all pointers into a range share, so that it runs at
        the speed of memory; less the two zeros at their end, of which memory is full.
        """
        found = self._low_hits(data, base, aligned=aligned) if self._low else []
        for needle in self._needles:
            at = data.find(needle, 3)
            while at >= 0:
                if at + 5 > len(data):
                    break
                if not aligned or (base + at - 3) % 8 == 0:
                    (word,) = _WORD.unpack_from(data, at - 3)
                    area = self.find(word)
                    if area is not None:
                        found.append(Hit(base + at - 3, word, area))
                at = data.find(needle, at + 1)
        return found

    def _low_hits(self, data: bytes, base: int, *, aligned: bool) -> list[Hit]:
        """Those of programs at fixed addresses: the high bytes are zeros, as most of memory is."""
        low, high = self._low[0].start, min(max(r.end for r in self._low), 1 << _HIGH_SHIFT)
        found = []
        for skip in (-base % 8,) if aligned else range(8):
            words = array("Q")
            words.frombytes(data[skip : skip + max(len(data) - skip, 0) // 8 * 8])
            for index, word in enumerate(words):
                if low <= word < high and (area := self.find(word)):
                    found.append(Hit(base + skip + 8 * index, word, area))
        return found


def live_stack(stack_pointer: int, maps: Sequence[Mapping]) -> Range | None:
    """From the stack pointer to the end of the mapping that it lies in.

    That covers a thread's own stack, a signal stack and a coroutine's stack, whichever is in use.
    Of the others, only the one in use is seen, and by `with_interrupted` what a handler on it has
    interrupted: a coroutine that sleeps on a stack of its own is not on any thread's stack.

    Returns:
        None where the stack pointer points to nothing that is a stack.

    Raises:
        Untraceable: more of a thread's own stack is in use than is read. (What lies far above in
            other mappings, such as a runtime's arena with its stacks, is nobody's stack.)
    """
    index = bisect_right(maps, stack_pointer, key=lambda mapping: mapping.start) - 1
    if index < 0 or stack_pointer >= maps[index].end:
        return None
    start = stack_pointer // 8 * 8
    live = Range(start, min(maps[index].end, start + MOST_LIVE_STACK))
    if live.end < maps[index].end and is_stack(maps, index):
        raise Untraceable
    return live if maps[index].readable and maps[index].writable else None


def is_stack(maps: Sequence[Mapping], index: int) -> bool:
    """Whether a mapping looks like a thread's stack: with a guard below it."""
    one, below = maps[index], maps[index - 1] if index else None
    guarded = below is not None and below.end == one.start and not below.readable
    return one.name.startswith(b"[stack") or guarded


def has_signal_frame(data: bytes) -> bool:
    """Whether a signal handler may be running on a stack with this content, or has run there."""
    return _SEGMENTS in data


def with_interrupted(
    stack: Range, data: bytes, maps: Sequence[Mapping], read: Callable[[Range], bytes]
) -> dict[Range, bytes]:
    """A stack, and all others that code is live on below the signal handlers that run on it.

    Args:
        stack: the live part of the stack in use.
        data: what is there.
        maps: the mappings of the process, by address.
        read: reads its memory.

    Returns:
        Their live parts, with their contents.

    Raises:
        Untraceable: they are too many.
    """
    found = {stack.end: (stack, data)}
    ahead = [(stack, data)]
    for _ in range(_MOST_STACKS):
        for other in _interrupted(*ahead.pop(), maps):
            if other.end not in found or other.start < found[other.end][0].start:
                found[other.end] = (other, read(other))
                ahead.append(found[other.end])
        if not ahead:
            return dict(found.values())
    raise Untraceable


def _interrupted(stack: Range, data: bytes, maps: Sequence[Mapping]) -> Iterator[Range]:
    """Where code was live when signal handlers on this stack interrupted it, one by one.

    Of a stack that lies below this one in the same mapping all is looked at that is between them.
    """
    lowest: dict[int, Range] = {}
    at = data.find(_SEGMENTS, -_STACK_POINTER)
    for _ in range(_MOST_SIGNAL_FRAMES):
        if at < 0:
            yield from lowest.values()
            return
        (pointer,) = _WORD.unpack_from(data, at + _STACK_POINTER)
        if pointer not in stack and (other := live_stack(pointer, maps)):
            end = stack.start if other.end == stack.end else other.end
            known = lowest.get(end, Range(end, end))
            lowest[end] = Range(min(other.start, known.start), end)
        at = data.find(_SEGMENTS, at + 1)
    raise Untraceable


def _needles(areas: Iterable[Range]) -> list[bytes]:
    """What to search for: the high bytes of all addresses in some ranges, where any is not zero.

    Where there are too many every place is looked at, which the empty needle stands for.
    """
    parts = [range(a.start >> _HIGH_SHIFT, ((a.end - 1) >> _HIGH_SHIFT) + 1) for a in areas]
    if sum(map(len, parts)) > _MOST_HIGH_PARTS + len(parts):
        return [b""]
    high = sorted({part for one in parts for part in one if part})
    return [struct.pack("<Q", part << _HIGH_SHIFT)[3:].removesuffix(b"\0\0") for part in high]
