"""What of a library's own data has to go along in a swap, and whether it can."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.nameless import Doubt
from libswap.linux.memory import Memory, Range
from libswap.live.findings import Finding, note, risk
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.pairing import ObjectPair, Pairing
from libswap.live.snapshot import Change, Snapshot, snapshots, words_into
from libswap.live.writable import first_value, without, writable_ranges

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
        stirred: whether nameless data that is carried, or of a whole what old code goes on to use,
            no longer has its first value.
        still: addresses of all that is not carried, as nobody changed it, with what lies there.
        untouched: likewise of the data that `stirred` is about.
    """

    pairs: tuple[ObjectPair, ...]
    unnamed: int
    findings: tuple[Finding, ...]
    still: tuple[tuple[int, bytes], ...] = ()
    stirred: bool = False
    untouched: tuple[tuple[int, bytes], ...] = ()


def survey_of(
    memory: Memory,
    old: Module,
    new: Library,
    pairing: Pairing,
    *,
    modules: Sequence[Module],
    mode: str,
    used: Sequence[Range] = (),
) -> Survey:
    """Look at the old library's data as it is now.

    Args:
        memory: of the process.
        old: the copy in use.
        new: the file to be used.
        pairing: of both files.
        modules: all of the process.
        mode: "auto", "carry" or "fresh".
        used: data that old code goes on to use when all is carried as a whole.
    """
    if mode == "fresh":
        detail = "begins anew, as asked"
        return Survey((), 0, (note("state-fresh", old.path, detail),))
    if mode == "carry" and as_a_whole(old.facts, new):
        return _survey_of_all(memory, old, new, modules, used)
    seen = snapshots(memory, old, modules)
    stirred, untouched = _stirred(old, pairing, seen)
    unnamed = [*_changed(_nameless(old, pairing), pairing.nameless.doubts, seen)]
    unnamed += [(change, None) for change in _led_astray(old, pairing, stirred)]
    findings: list[Finding] = []
    lost = [name for name, place in pairing.unpaired if any(s.differs(place) for s in seen)]
    if lost:
        shown = ", ".join(lost[:_SHOWN]) + (" ..." if len(lost) > _SHOWN else "")
        findings.append(risk("state-gone", shown, "in use, and the new library has no such object"))
    if unnamed:
        findings.append(_unnamed(unnamed))
    still = () if unnamed or lost else tuple(_left_alone(old, pairing, seen))
    count = sum(change.size for change, _ in unnamed)
    return Survey(pairing.objects, count, tuple(findings), still, bool(stirred), untouched)


def as_a_whole(old: Library, new: Library) -> bool:
    """Whether --state carry takes all data over as it lies there, no names being known."""
    return not old.statics and alike(old, new)


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


def _survey_of_all(
    memory: Memory, old: Module, new: Library, modules: Sequence[Module], used: Sequence[Range]
) -> Survey:
    seen = snapshots(memory, old, modules) if used else ()
    parts = [(part, s) for part in without(used, ()) for s in seen if part.start in s.place]
    return Survey(
        _whole(old.facts, new), 0, (_whole_note(old),),
        stirred=any(s.differs(part) for part, s in parts),
        untouched=tuple((old.base + part.start, s.of(part)[1]) for part, s in parts),
    )  # fmt: skip


def _whole(old: Library, new: Library) -> tuple[ObjectPair, ...]:
    return tuple(
        ObjectPair(f"all data at {a.start:#x}", a.start, b.start, a.size)
        for a, b in zip(writable_ranges(old), writable_ranges(new), strict=True)
    )


def _whole_note(old: Module) -> Finding:
    detail = "carried as a whole: the layout is alike, but no names prove it"
    return note("state-as-a-whole", old.path, detail)


def _unnamed(changes: Sequence[tuple[Change, Doubt | None]]) -> Finding:
    about: dict[Doubt | None, list[Change]] = {}
    for change, doubt in sorted(changes, key=lambda one: one[0]):
        about.setdefault(doubt, []).append(change)
    told = [_told(found, doubt) for doubt, found in about.items()]
    more = f" and {len(told) - _SHOWN} more places" if len(told) > _SHOWN else ""
    return risk(
        "state-without-names",
        f"{sum(change.size for change, _ in changes)} bytes",
        "data of the old library that changed since it was loaded, that no symbol names, and whose"
        f" place in the new one the code does not prove: {'; '.join(told[:_SHOWN])}{more}",
        "install the library's debug symbols (-dbgsym), say --state carry if both builds lay out"
        " their data alike, --state fresh if the library may begin anew, or restart the process",
    )


def _told(changes: Sequence[Change], doubt: Doubt | None) -> str:
    """Where bytes are that cannot be carried, who uses them, and why not."""
    first, last = changes[0].first, max(c.last for c in changes)
    where = f"{first:#x}" if first == last else f"{first:#x} to {last:#x}"
    if doubt is None:
        return where
    users = ", ".join(doubt.users[:_USERS]) + (" ..." if len(doubt.users) > _USERS else "")
    return f"{where} ({f'used by {users}: ' if users else ''}{doubt.why})"


def changed(memory: Memory, old: Module, modules: Sequence[Module]) -> tuple[str, ...]:
    """Names of a library's own data that no longer have the value that they began with."""
    seen = snapshots(memory, old, modules)
    objects = sorted((s.value, s.value + s.size, str(n)) for n, s in old.facts.objects.items())
    names = {start: (name, Range(start, end)) for start, end, name in objects}
    found = [name for name, part in names.values() if any(s.differs(part) for s in seen)]
    holes = without([s.place for s in seen], [part for _, part in names.values()])
    if any(s.differs(hole) for hole in holes for s in seen if hole.start in s.place):
        found.append("data without a name")
    return tuple(dict.fromkeys(found))


def _nameless(old: Module, pairing: Pairing) -> tuple[Range, ...]:
    """Where data lies that is not carried and has no name, and that is not chosen by each copy."""
    named = [place for _, place in pairing.unpaired]
    chosen = [Range(at, at + size) for at, size in pairing.nameless.choices]
    return without(_not_carried(old, pairing), [*named, *chosen])


def _not_carried(old: Module, pairing: Pairing) -> tuple[Range, ...]:
    carried = [Range(p.old, p.old + p.size) for p in pairing.objects]
    return without(writable_ranges(old.facts), carried)


def _changed(
    holes: Iterable[Range], doubts: Sequence[Doubt], seen: Sequence[Snapshot]
) -> Iterator[tuple[Change, Doubt | None]]:
    """Changed bytes of nameless data that is not carried."""
    for hole in holes:
        (around,) = (s for s in seen if hole.start in s.place)
        if around.differs(hole):
            found = ((around.change(part), doubt) for part, doubt in _by_doubt(hole, doubts))
            yield from ((change, doubt) for change, doubt in found if change is not None)


def _by_doubt(hole: Range, doubts: Sequence[Doubt]) -> Iterator[tuple[Range, Doubt | None]]:
    """The pieces of a hole of which different things are known."""
    at = hole.start
    first = max(bisect_right(doubts, at, key=lambda d: d.old) - 1, 0)
    for doubt in doubts[first : bisect_left(doubts, hole.end, key=lambda d: d.old)]:
        start, end = max(doubt.old, at), min(doubt.old + doubt.size, hole.end)
        if start < end:
            if at < start:
                yield Range(at, start), None
            yield Range(start, end), doubt
            at = end
    if at < hole.end:
        yield Range(at, hole.end), None


def _left_alone(
    old: Module, pairing: Pairing, seen: Sequence[Snapshot]
) -> Iterator[tuple[int, bytes]]:
    """What is not carried must not change any more before all stands still."""
    for hole in _not_carried(old, pairing):
        for around in seen:
            if hole.start in around.place:
                yield old.base + hole.start, around.of(hole)[1]


def _stirred(
    old: Module, pairing: Pairing, seen: Sequence[Snapshot]
) -> tuple[list[tuple[int, bytes]], tuple[tuple[int, bytes], ...]]:
    """Nameless data that is carried and no longer has its first value, and what still has it."""
    firsts = [s.first for s in seen]
    stirred, untouched = [], []
    for stretch in pairing.nameless.stretches:
        part = Range(stretch.old, stretch.old + stretch.size)
        for around in seen:
            if stretch.old in around.place:
                _, now = around.of(part)
                if now in first_value(firsts, stretch.old, stretch.size):
                    untouched.append((old.base + stretch.old, now))
                else:
                    stirred.append((stretch.old, now))
    return stirred, tuple(untouched)


def _led_astray(
    old: Module, pairing: Pairing, stirred: Iterable[tuple[int, bytes]]
) -> Iterator[Change]:
    """Nameless words that are carried, were changed, and point to data that is not carried."""
    objects = sorted(Range(p.old, p.old + p.size) for p in pairing.objects)
    ends = {o.end for o in objects}
    ranges = writable_ranges(old.facts)
    for start, now in stirred:
        found = [
            at for at, value in words_into(now, start, old.extent)
            if (to := value - old.base) not in ends
            and any(to in r for r in ranges) and not _inside(objects, to)
        ]  # fmt: skip
        if found:
            yield Change(found[0], found[-1] + _WORD - 1, _WORD * len(found))


def _inside(ranges: Sequence[Range], address: int) -> bool:
    index = bisect_right(ranges, (address, 1 << 64)) - 1
    return index >= 0 and address in ranges[index]
