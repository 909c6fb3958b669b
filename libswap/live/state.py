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

from libswap.linux.memory import Memory, Range
from libswap.live.findings import Finding, note, risk
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.pairing import ObjectPair, Pairing
from libswap.live.stacks import Hit
from libswap.live.transaction import Copy, Write
from libswap.live.writable import Initial, initial, writable_ranges

_WORD: Final = 8
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to carry, seen before anything is touched.

    Attributes:
        pairs: the objects to exchange.
        unnamed: bytes without a name that no longer have the value they began with.
        findings: what stands in the way.
    """

    pairs: tuple[ObjectPair, ...]
    unnamed: int
    findings: tuple[Finding, ...]


def survey(
    memory: Memory,
    old: Module,
    new: Library,
    pairing: Pairing,
    mode: str,
) -> Survey:
    """Look at the old library's data as it is now.

    Args:
        memory: of the process.
        old: the copy in use.
        new: the file to be used.
        pairing: of both files.
        mode: "auto", "carry" or "fresh".
    """
    if mode == "fresh":
        detail = "begins anew, as asked"
        return Survey((), 0, (note("state-fresh", old.path, detail),))
    if mode == "carry" and not old.facts.statics and alike(old.facts, new):
        return Survey(_whole(old.facts, new), 0, (_whole_note(old),))
    named = [Range(p.old, p.old + p.size) for p in pairing.objects]
    lost, unnamed = _changed(memory, old, pairing, named)
    findings: list[Finding] = []
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (" ..." if len(lost) > _SHOWN else "")
        findings.append(risk("state-gone", shown, "in use, and the new library has no such object"))
    if unnamed:
        findings.append(_unnamed(unnamed))
    return Survey(pairing.objects, unnamed, tuple(findings))


def alike(old: Library, new: Library) -> bool:
    """Whether the writable data of two files has the same layout, as far as the files tell.

    That is: ranges of the same size, the same places that the dynamic linker fills in, and the same
    exported objects at the same places. Nameless objects may still have changed places or meaning.
    """
    return _layout(old) == _layout(new)


def _layout(library: Library) -> list[tuple[int, frozenset[int], frozenset[tuple[str, int, int]]]]:
    return [
        (
            r.size,
            frozenset(x.offset - r.start for x in library.relocations if x.offset in r),
            frozenset((str(n), s.value - r.start, s.size) for n, s in library.objects.items()
                      if s.value in r),
        )
        for r in writable_ranges(library)
    ]  # fmt: skip


def _whole(old: Library, new: Library) -> tuple[ObjectPair, ...]:
    return tuple(
        ObjectPair(f"all data at {a.start:#x}", a.start, b.start, a.size)
        for a, b in zip(writable_ranges(old), writable_ranges(new), strict=True)
    )


def _whole_note(old: Module) -> Finding:
    detail = "carried as a whole: the layout is alike, but no names prove it"
    return note("state-as-a-whole", old.path, detail)


def _unnamed(count: int) -> Finding:
    return risk(
        "state-without-names",
        f"{count} bytes",
        "data of the old library that changed since it was loaded and that no symbol names,"
        " so that it cannot be carried over",
        "install the library's debug symbols (-dbgsym), say --state carry if both builds lay out"
        " their data alike, --state fresh if the library may begin anew, or restart the process",
    )


def changed(memory: Memory, old: Module) -> tuple[str, ...]:
    """Names of a library's own data that no longer have the value that they began with."""
    objects = sorted((s.value, s.value + s.size, str(n)) for n, s in old.facts.objects.items())
    names: dict[str, None] = {}
    for place in writable_ranges(old.facts):
        begin = initial(old.facts, place, old.base)
        for at in _differing(begin, memory.read(old.base + place.start, place.size)):
            where = place.start + at
            index = bisect_right(objects, (where, 1 << 64, "")) - 1
            known = index >= 0 and where < objects[index][1]
            names[objects[index][2] if known else "data without a name"] = None
    return tuple(names)


def _changed(
    memory: Memory, old: Module, pairing: Pairing, named: Sequence[Range]
) -> tuple[list[str], int]:
    """Names of changed objects without a counterpart, and the number of changed nameless bytes."""
    lost: list[str] = []
    unnamed = 0
    for place in writable_ranges(old.facts):
        begin = initial(old.facts, place, old.base)
        now = memory.read(old.base + place.start, place.size)
        changed = _differing(begin, now)
        lost += [
            name for name, r in pairing.unpaired
            if any(place.start + at in r for at in changed)
        ]  # fmt: skip
        covered = sorted([*named, *(r for _, r in pairing.unpaired)])
        unnamed += sum(not _inside(covered, place.start + at) for at in changed)
    return lost, unnamed


def _differing(begin: Initial, now: bytes) -> list[int]:
    """Offsets of bytes that changed; words whose first value is not known count as unchanged."""
    if begin.contents == now:
        return []
    words = {at + i for at in begin.unknown for i in range(_WORD)}
    return [
        i for i, (a, b) in enumerate(zip(begin.contents, now, strict=True))
        if a != b and i not in words
    ]  # fmt: skip


def _inside(ranges: Sequence[Range], address: int) -> bool:
    index = bisect_right(ranges, (address, 1 << 64)) - 1
    return index >= 0 and address in ranges[index]


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
        self._extents = tuple(extents)
        self._functions = functions
        self._objects = sorted(objects)
        self._ends = {a.end: to + a.size for a, to in objects}
        self._ends |= {b.start: to for b, to in objects}
        for (a, _), (b, to) in pairwise(self._objects):
            if a.end == b.start:
                self._ends[a.end] = to  # the start of one object before the end of another

    def word(self, value: int) -> int:
        """The address to use instead; what is not known, or points elsewhere, stays."""
        if not any(value in extent for extent in self._extents):
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
        low = min(e.start for e in self._extents)
        high = max(e.end for e in self._extents)
        skip = -address % _WORD
        count = (len(data) - skip) // _WORD
        if count <= 0:
            return data
        words = struct.unpack_from(f"<{count}Q", data, skip)
        if not any(low <= w < high for w in words):
            return data
        changed = struct.pack(f"<{count}Q", *map(self.word, words))
        return data[:skip] + changed + data[skip + len(changed) :]


class Exchange:
    """One object of the two copies; both directions of its copy see the same moment."""

    def __init__(
        self,
        pair: tuple[Range, int],
        begin: Sequence[bytes | None],
        now: bytes,
        forward: Translation,
        back: Translation,
    ) -> None:
        """Take absolute addresses.

        Args:
            pair: the object in the old copy and its address in the new one.
            begin: its first value in the old copy, None where that is not known.
            now: what the new copy has, which nobody changes before the swap.
            forward: old to new.
            back: new to old.
        """
        self._pair = pair
        self._begin = begin
        self._now = now
        self._forward = forward
        self._back = back
        self._old = b""

    @property
    def fresh(self) -> tuple[int, bytes]:
        """Where the object is in the new copy, and what the new copy made of it."""
        return self._pair[1], self._now

    def finish(self, memory: Memory) -> Write | None:
        """The second half, for an exchange that was cut off after the first."""
        place, _ = self._pair
        old = memory.read(place.start, place.size)
        if self._never_changed(old):
            return None
        return Write(place.start, old, self._back.data(self._now, self._pair[1]))

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
        return self._forward.data(old, self._pair[0].start)

    def _given_back(self, new: bytes) -> bytes:
        if self._never_changed(self._old):
            return self._old
        return self._back.data(new, self._pair[1])

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
    """

    old: Module
    new: Module
    pairing: Pairing
    pairs: Sequence[ObjectPair]
    fresh: Mapping[int, bytes]

    @property
    def objects(self) -> list[tuple[Range, int]]:
        """Where each object lies in the copy in use, and its address in the other."""
        old, new = self.old.base, self.new.base
        return [(Range(old + p.old, old + p.old + p.size), new + p.new) for p in self.pairs]


def exchanges(memory: Memory, part: Carried, both: "Translations") -> tuple[Exchange, ...]:
    """Prepare the exchange of one library's objects."""
    old = part.old
    firsts = [(initial(old.facts, r, old.base)) for r in writable_ranges(old.facts)]
    return tuple(
        Exchange((place, to), _first_value(firsts, pair),
                 part.fresh.get(to) or memory.read(to, place.size), both.forward, both.back)
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


def _first_value(firsts: Sequence[Initial], pair: ObjectPair) -> list[bytes | None]:
    for begin in firsts:
        if begin.place.start <= pair.old and pair.old + pair.size <= begin.place.end:
            at = pair.old - begin.place.start
            if any(at <= u < at + pair.size for u in begin.unknown):
                return []
            return [begin.contents[at : at + pair.size]]
    return []
