"""What of a library's own data has to go along in a swap, and whether it can."""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.nameless import Doubt
from libswap.linux.memory import Memory, Range
from libswap.live.findings import Finding, note, risk
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.pairing import ObjectPair, Pairing
from libswap.live.writable import Initial, first_value, initial, without, writable_ranges

_WORD: Final = 8
_SHOWN: Final = 6
_USERS: Final = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is to carry, seen before anything is touched.

    Attributes:
        pairs: the objects to exchange.
        unnamed: bytes without a name that no longer have the value they began with.
        findings: what stands in the way.
        stirred: whether nameless data that is carried no longer has its first value.
        still: addresses of what is not carried as nobody changed it, with what lies there.
    """

    pairs: tuple[ObjectPair, ...]
    unnamed: int
    findings: tuple[Finding, ...]
    still: tuple[tuple[int, bytes], ...] = ()
    stirred: bool = False


def survey_of(
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
    lost, unnamed = _changed(memory, old, pairing)
    stirred = list(_stirred(memory, old, pairing))
    unnamed += _led_astray(old, pairing, stirred)
    findings: list[Finding] = []
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (" ..." if len(lost) > _SHOWN else "")
        findings.append(risk("state-gone", shown, "in use, and the new library has no such object"))
    if unnamed:
        findings.append(_unnamed(sorted(unnamed), pairing))
    still = () if unnamed else tuple(_left_alone(memory, old, pairing))
    return Survey(pairing.objects, len(unnamed), tuple(findings), still, bool(stirred))


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


def _unnamed(places: Sequence[int], pairing: Pairing) -> Finding:
    doubts = pairing.nameless.doubts
    starts = [d.old for d in doubts]
    about: dict[int, list[int]] = {}
    for place in places:
        index = bisect_right(starts, place) - 1
        known = index >= 0 and place < doubts[index].old + doubts[index].size
        about.setdefault(index if known else -1, []).append(place)
    told = [_told(found, doubts[i] if i >= 0 else None) for i, found in about.items()]
    more = f" and {len(told) - _SHOWN} more places" if len(told) > _SHOWN else ""
    return risk(
        "state-without-names",
        f"{len(places)} bytes",
        "data of the old library that changed since it was loaded, that no symbol names, and whose"
        f" place in the new one the code does not prove: {'; '.join(told[:_SHOWN])}{more}",
        "install the library's debug symbols (-dbgsym), say --state carry if both builds lay out"
        " their data alike, --state fresh if the library may begin anew, or restart the process",
    )


def _told(places: Sequence[int], doubt: Doubt | None) -> str:
    """Where bytes are that cannot be carried, who uses them, and why not."""
    first, last = places[0], places[-1]
    where = f"{first:#x}" if first == last else f"{first:#x} to {last:#x}"
    if doubt is None:
        return where
    users = ", ".join(doubt.users[:_USERS]) + (" ..." if len(doubt.users) > _USERS else "")
    return f"{where} ({f'used by {users}: ' if users else ''}{doubt.why})"


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


def _changed(memory: Memory, old: Module, pairing: Pairing) -> tuple[list[str], list[int]]:
    """Names of changed objects without a counterpart, and the places of changed nameless bytes."""
    lost: list[str] = []
    unnamed: list[int] = []
    carried = [Range(p.old, p.old + p.size) for p in pairing.objects]
    covered = sorted([*carried, *(r for _, r in pairing.unpaired)])
    for place in writable_ranges(old.facts):
        begin = initial(old.facts, place, old.base)
        now = memory.read(old.base + place.start, place.size)
        changed = _differing(begin, now)
        lost += [
            name for name, r in pairing.unpaired
            if any(place.start + at in r for at in changed)
        ]  # fmt: skip
        unnamed += [
            place.start + at for at in changed if not _inside(covered, place.start + at)
        ]  # fmt: skip
    return lost, unnamed


def _left_alone(memory: Memory, old: Module, pairing: Pairing) -> Iterator[tuple[int, bytes]]:
    """Nameless data that is not carried: it must not change any more before all stands still."""
    if not pairing.nameless.doubts:
        return
    known = [Range(p.old, p.old + p.size) for p in pairing.objects]
    for hole in without(writable_ranges(old.facts), [*known, *(r for _, r in pairing.unpaired)]):
        yield old.base + hole.start, memory.read(old.base + hole.start, hole.size)


def _stirred(memory: Memory, old: Module, pairing: Pairing) -> Iterator[tuple[int, bytes]]:
    """Where nameless data that is carried no longer has its first value, and what it has."""
    firsts = [initial(old.facts, r, old.base) for r in writable_ranges(old.facts)]
    for stretch in pairing.nameless.stretches:
        now = memory.read(old.base + stretch.old, stretch.size)
        if now not in first_value(firsts, stretch.old, stretch.size):
            yield stretch.old, now


def _led_astray(old: Module, pairing: Pairing, stirred: Iterable[tuple[int, bytes]]) -> list[int]:
    """Nameless words that are carried, were changed, and point to data that is not carried."""
    objects = sorted(Range(p.old, p.old + p.size) for p in pairing.objects)
    ends = {o.end for o in objects}
    ranges = writable_ranges(old.facts)
    found = []
    for start, now in stirred:
        for at in range(-start % _WORD, len(now) - _WORD + 1, _WORD):
            to = struct.unpack_from("<Q", now, at)[0] - old.base
            if to not in ends and any(to in r for r in ranges) and not _inside(objects, to):
                found.append(start + at)
    return found


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
