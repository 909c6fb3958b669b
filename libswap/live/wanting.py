"""What a swap asks to be loaded and reserved in a process."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from libswap.errors.live import NotSwappable
from libswap.linux.memory import Range
from libswap.live import gate, registry
from libswap.live.alias import aliases, renamed, require_partners
from libswap.live.copies import family_of
from libswap.live.gate import Layout, Room
from libswap.live.move import Move
from libswap.live.outlook import Work
from libswap.live.registry import CopyRecord, Record
from libswap.live.subject import Subject
from libswap.live.wanted import Question, Request, Wanted

MOST_LIBRARIES: Final = 64
"""In one swap: their words must lie close enough together for one write."""
_IFUNC_ROOM: Final = 192
_PAGE: Final = 4096
_BYTES_PER_GATE: Final = 96

Rooms = Callable[[int], tuple[Room, ...]]
"""Where each library's gates are to be made, of the address of the memory for them."""


def request_for(
    subject: Subject, moves: Sequence[Move], works: Sequence[Work]
) -> tuple[Request, Rooms]:
    """What to load for a swap, and how the memory for its gates is laid out.

    Raises:
        NotSwappable: they are too many, or their names cannot be changed where they must be.
    """
    if len(moves) > MOST_LIBRARIES:
        raise NotSwappable(
            "too-many", f"{len(moves)} libraries in one swap, of at most {MOST_LIBRARIES}",
            "name fewer at a time",
        )  # fmt: skip
    record = subject.record
    taken = {m.link.name for m in subject.modules}
    sizes = _sizes(works, record)
    layout = gate.layout(sizes) if any(sizes) else Layout(0, (), ())
    neighbour = moves[0].source.link
    extents = [m.source.extent for m in moves]
    request = Request(
        libraries=_libraries(subject, moves, works, record),
        near=Range(min(e.start for e in extents), max(e.end for e in extents)),
        neighbour=neighbour.address if neighbour.namespace else 0,
        area=layout.size,
        record=_record_size(subject, works),
        taken=frozenset(taken),
    )

    def rooms(area: int) -> tuple[Room, ...]:
        if not area:
            return (Room(),) * len(moves)
        return tuple(
            Room(area + a, area + w) for a, w in zip(layout.areas, layout.words, strict=True)
        )

    return request, rooms


def _sizes(works: Sequence[Work], record: Record) -> list[int]:
    """Bytes for the gates of each library, 0 for all where they have them from an earlier swap.

    For a set all are made anew unless their words lie side by side.
    """
    known = [_known(work, record) for work in works]
    words = [copy.deciding for copy in known if copy is not None]
    if len(words) == len(works) and max(words) - min(words) < gate.WORD * MOST_LIBRARIES:
        return [0] * len(works)
    return [max(_room(work), _PAGE) for work in works]


def _known(work: Work, record: Record) -> CopyRecord | None:
    """The record of the copy in use, if it has a gate for every entry."""
    family = family_of(record, work.source)
    own = next(c for c in family.copies if c.base == work.source.base)
    gates = {g.entry for g in own.gates}
    return own if own.area and gates >= {r.old for r in work.redirects.redirects} else None


def _room(work: Work) -> int:
    resolved = sum(f.ifunc for f in work.pairing.forwards)
    return gate.room(work.redirects.redirects) + _IFUNC_ROOM * resolved


def _record_size(subject: Subject, works: Sequence[Work]) -> int:
    """Bytes for a new record; 0 where the process has one that is large enough."""
    place = subject.place
    size = registry.size_for(place.record if place else Record())
    for work in works:
        size += _BYTES_PER_GATE * len(work.redirects.redirects)
        size += 2 * sum(p.size for p in work.survey.pairs)
    if place and place.size >= min(size, registry.MOST):
        return 0
    return min(2 * size, registry.MOST)


def _libraries(
    subject: Subject, moves: Sequence[Move], works: Sequence[Work], record: Record
) -> tuple[Wanted, ...]:
    namespace = moves[0].source.link.namespace
    modules = [m for m in subject.modules if m.link.namespace == namespace]
    require_partners(moves, modules, record)
    names = aliases(moves, modules, record)
    main = subject.modules[0].library
    needed = main.dynamic.needed if main is not None else ()
    return tuple(
        Wanted(
            path="" if move.loaded else move.path,
            keep=move.source.link.name,
            content=_content(move, names),
            everywhere=move.soname in needed or move.source.facts.dynamic.soname in needed,
            questions=_questions(work),
            handle=move.loaded.link.address if move.loaded else 0,
        )
        for move, work in zip(moves, works, strict=True)
    )


def _questions(work: Work) -> tuple[Question, ...]:
    resolved = (f for f in work.pairing.forwards if f.ifunc)
    return tuple(Question(f.name, work.source.base + f.old, f.new) for f in resolved)


def _content(move: Move, names: Mapping[str, str]) -> bytes | None:
    """What the process gets instead of the file, None where the file will do."""
    if move.loaded is not None:
        return None
    own = {move.soname, *move.library.dynamic.needed}
    changed = {name: alias for name, alias in names.items() if name in own}
    if changed:
        return renamed(move.library, changed)
    return bytes(move.library.image.data[:]) if move.hand_over else None
