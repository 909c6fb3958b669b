"""A library's own data, carried over at the moment of the swap.

The two copies exchange it: the new one goes on with what the old one had, and the old one gets what
the new one's constructors made. So everything that was constructed is destroyed once, by whichever
copy the process's exit finds it in.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, NamedTuple

from libswap.errors.live import NotSwappable
from libswap.linux.memory import Memory, Range
from libswap.live.module import Module
from libswap.live.pairing import ObjectPair, Pairing
from libswap.live.stacks import Areas, Hit
from libswap.live.writable import first_value, initial, writable_ranges
from libswap.live.writing import Copy, Write

_WORD: Final = 8


class Translation:
    """Turns addresses in some copies into those of the same things in their counterparts."""

    def __init__(
        self,
        extents: Sequence[Range],
        functions: Mapping[int, int],
        objects: Sequence[tuple[Range, int]],
    ) -> None:
        """Take absolute addresses.

        Args:
            extents: of the copies whose addresses are translated.
            functions: entry -> entry.
            objects: where one lies, and the address of its counterpart.
        """
        self._extents = Areas(extents)
        self._functions = functions
        self._objects = sorted(objects)
        self._ends = {a.end: to + a.size for a, to in objects}
        self._ends |= {b.start: to for b, to in objects}
        for (a, _), (b, to) in pairwise(self._objects):
            if a.end == b.start:
                self._ends[a.end] = to  # the start of one object before the end of another

    def word(self, value: int) -> int:
        """The address to use instead; what is not known, or points elsewhere, stays."""
        if self._extents.find(value) is None:
            return value
        if value in self._functions:
            return self._functions[value]
        index = bisect_right(self._objects, (Range(value, 1 << 64), 0)) - 1
        if index >= 0 and value in self._objects[index][0]:
            place, to = self._objects[index]
            return to + value - place.start
        return self._ends.get(value, value)

    def data(self, data: bytes, address: int) -> bytes:
        """Every aligned word of some bytes that lie at `address`."""
        hits = self._extents.hits(data, address)
        if not hits:
            return data
        changed = bytearray(data)
        for hit in hits:
            struct.pack_into("<Q", changed, hit.at - address, self.word(hit.value))
        return bytes(changed)


class _Remembering:
    """Translates what lies at one address, and remembers the last of it.

    Most data is the same when all stands still as it was the moment before.
    """

    def __init__(self, translation: Translation, address: int) -> None:
        self._translation = translation
        self._address = address
        self._data = self._translated = b""

    def __call__(self, data: bytes) -> bytes:
        if data != self._data:
            self._translated = self._translation.data(data, self._address)
            self._data = data
        return self._translated


class Exchange:
    """One object of the two copies; both directions of its copy see the same moment."""

    def __init__(
        self,
        pair: tuple[Range, int],
        begin: Sequence[bytes | None],
        now: bytes,
        forward: Translation,
        back: Translation,
        *,
        within: Sequence[Range] = (),
    ) -> None:
        """Take absolute addresses.

        Args:
            pair: the object in the old copy and its address in the new one.
            begin: its first value in the old copy, None where that is not known.
            now: what the new copy has, which nobody changes before the swap.
            forward: old to new.
            back: new to old.
            within: a word of it that leads in there must lead to what is carried too.
        """
        self._within = Areas(within)
        self._required = b""
        self._pair = pair
        self._begin = begin
        self._now = now
        self._forward = _Remembering(forward, pair[0].start)
        self._back = _Remembering(back, pair[1])
        self._old = b""

    @property
    def fresh(self) -> tuple[int, bytes]:
        """Where the object is in the new copy, and what the new copy made of it."""
        return self._pair[1], self._now

    @property
    def place(self) -> int:
        """Where the object is in the old copy."""
        return self._pair[0].start

    def finish(self, memory: Memory) -> Write | None:
        """The second half, for an exchange that was cut off after the first."""
        place, _ = self._pair
        old = memory.read(place.start, place.size)
        if self._never_changed(old):
            return None
        return Write(place.start, old, self._back(self._now))

    def carry(self) -> Copy:
        """Old to new."""
        place, to = self._pair
        return Copy(place.start, to, place.size, self._carried)

    def give_back(self) -> Copy:
        """New to old; to be asked for after `carry`."""
        place, to = self._pair
        return Copy(to, place.start, place.size, self._given_back)

    def _carried(self, old: bytes) -> bytes:
        self._old = old
        if self._never_changed(old):
            return self._now  # the new version's own first value, such as a newer table
        carried = self._forward(old)
        self._require_carried(carried)
        return carried

    def _require_carried(self, carried: bytes) -> None:
        """As `survey` did when the plan was made; the program went on since."""
        if carried is self._required:
            return
        for hit in self._within.hits(carried, self._pair[0].start):
            raise NotSwappable(
                "state-without-names",
                f"the word at {hit.at:#x} came to point to {hit.value:#x}, which is not carried",
                "try again, and see what the plan says",
            )
        self._required = carried

    def _given_back(self, new: bytes) -> bytes:
        if self._never_changed(self._old):
            return self._old
        return self._back(new)

    def _never_changed(self, old: bytes) -> bool:
        return any(old == b for b in self._begin)


@dataclass(frozen=True, slots=True)
class Carried:
    """One library's part in an exchange of state between loaded copies.

    Attributes:
        old: the copy in use.
        new: the copy to be used.
        pairing: of their files.
        pairs: the objects.
        fresh: by address, what the new copy had before an exchange that was cut off.
        careful: whether data without names must not lead to data that is not carried.
    """

    old: Module
    new: Module
    pairing: Pairing
    pairs: Sequence[ObjectPair]
    fresh: Mapping[int, bytes]
    careful: bool = False

    @property
    def objects(self) -> list[tuple[Range, int]]:
        """Where each object lies in the copy in use, and its address in the other."""
        old, new = self.old.base, self.new.base
        return [(Range(old + p.old, old + p.old + p.size), new + p.new) for p in self.pairs]


def exchanges(memory: Memory, part: Carried, both: "Translations") -> tuple[Exchange, ...]:
    """Prepare the exchange of one library's objects."""
    old = part.old
    ranges = writable_ranges(old.facts)
    firsts = [(initial(old.facts, r, old.base)) for r in ranges]
    within = tuple(Range(old.base + r.start, old.base + r.end) for r in ranges)
    unnamed = {s.old for s in part.pairing.nameless.stretches} if part.careful else set()
    return tuple(
        Exchange((place, to), first_value(firsts, pair.old, pair.size),
                 part.fresh.get(to) or memory.read(to, place.size), both.forward, both.back,
                 within=within if pair.old in unnamed else ())
        for pair, (place, to) in zip(part.pairs, part.objects, strict=True)
    )  # fmt: skip


class Translations(NamedTuple):
    """From the copies in use to those to be used, and back."""

    forward: Translation
    back: Translation


def translations(parts: Sequence[Carried]) -> Translations:
    """Those of all libraries of a swap: the data of one may point to the others'."""
    functions = {
        p.old.base + a: p.new.base + b for p in parts for a, b in p.pairing.functions.items()
    }
    objects = [pair for p in parts for pair in p.objects]
    back = [(Range(to, to + place.size), place.start) for place, to in objects]
    return Translations(
        Translation([p.old.extent for p in parts], functions, objects),
        Translation([p.new.extent for p in parts], {b: a for a, b in functions.items()}, back),
    )


def follow(words: Iterable[Hit], translation: Translation) -> tuple[Copy, ...]:
    """Let words elsewhere that point to objects follow them, as they are when all stands still."""
    return tuple(
        Copy(hit.at, hit.at, _WORD, partial(translation.data, address=hit.at)) for hit in words
    )
