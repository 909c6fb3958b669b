"""What a killed libswap has left in a process: taken back, finished, or made quick again."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from libswap.errors.base import LibswapError
from libswap.errors.live import RecordDamaged
from libswap.linux.memory import Range
from libswap.live import gate, plan
from libswap.live.copies import gates_of, loaded_copy
from libswap.live.gate import Room
from libswap.live.leading import Leading, slot_writes
from libswap.live.module import Module
from libswap.live.outlook import Options, Work, look, pairing_of
from libswap.live.pairing import ObjectPair
from libswap.live.preparation import Preparation, with_current, with_events
from libswap.live.quiescence import Forbidden
from libswap.live.registry import CopyRecord, Event, Pending, Place, Record
from libswap.live.subject import Subject
from libswap.live.swap import SETTLE_WAIT
from libswap.live.transaction import commit
from libswap.live.wanted import Loaded, Opened
from libswap.live.writing import Copy, Phase, Prepared, Write


def finish(subject: Subject, options: Options) -> Subject:
    """Bring to its end what a libswap that was killed had begun in this process.

    Returns:
        The process as it is afterwards; what only makes calls quick may be left for later.

    Raises:
        CommitBlocked: there was no safe moment.
        LibswapError: a copy that took part is no longer there or cannot be read.
    """
    subject = _decide(subject, options)
    with suppress(LibswapError):
        return settle(subject, options)
    return subject


def bring_to_an_end(subject: Subject, options: Options) -> Subject:
    """As `finish`, and nothing is left for later.

    Raises:
        LibswapError: as there; or calls could not be led past their gates now.
    """
    return settle(_decide(subject, options), options)


def _decide(subject: Subject, options: Options) -> Subject:
    """Complete a swap that had been turned, take back one that had not."""
    place = subject.place
    if place is None or not place.record.pending:
        return subject
    sources = [place.record.families[p.family].copies[p.source] for p in place.record.pending]
    if any(any(subject.memory.read(s.deciding, gate.WORD)) for s in sources):
        _complete(subject, place, options)
    else:
        _take_back(subject, place, sources)
    return subject.again()


def unsettled(record: Record) -> tuple[Event, ...]:
    """Swaps whose calls still go through gates, and which no later swap has led on."""
    used = {f.copies[f.current].base for f in record.families}
    latest = {e.new_base: e for e in record.events if e.state in ("switched", "done")}
    known = {c.base for f in record.families for c in f.copies}
    return tuple(
        e for base, e in latest.items()
        if e.state == "switched" and base in used and e.old_base in known
    )  # fmt: skip


def settle(subject: Subject, options: Options) -> Subject:
    """Lead calls that go through gates straight to their functions.

    Returns:
        The process as it is afterwards.

    Raises:
        LibswapError: it cannot be done now.
    """
    place = subject.place
    events = unsettled(place.record) if place is not None else ()
    if place is None or not events:
        return subject
    prepared = _prepared(subject, [(e.old_base, e.new_base) for e in events], options)
    _, done = place.writes(with_events(place.record, events, "done"))
    commit(
        subject.identity, subject.memory, Prepared(prepared.settling(), done=(done,)),
        wait=SETTLE_WAIT,
    )  # fmt: skip
    return subject.again()


def _complete(subject: Subject, place: Place, options: Options) -> None:
    """The rest of a swap whose gates were turned."""
    record, memory = place.record, subject.memory
    bases = [
        (record.families[p.family].copies[p.source].base,
         record.families[p.family].copies[p.target].base) for p in record.pending
    ]  # fmt: skip
    prepared = _prepared(subject, bases, options, record.pending)
    exchanges = prepared.exchanges(record.pending)
    given_back = [
        write for own in exchanges for e in own if (write := e.finish(memory)) is not None
    ]
    # Those were written before the first commit, and may have been lost with it.
    before = prepared.before()
    phases: list[Sequence[Write | Copy]] = [
        *plan.after_the_turn(memory, prepared.turns()), before,
        prepared.followers(prepared.exchanged()), given_back,
    ]  # fmt: skip
    begun = [e for e in record.events if e.state == "begun"]
    _, done = place.writes(with_events(with_current(record, record.pending), begun, "switched"))
    _commit(subject, tuple(tuple(p) for p in phases if p), (), done)


def _take_back(subject: Subject, place: Place, sources: Sequence[CopyRecord]) -> None:
    """The gates were never turned: give the entries their bytes back."""
    memory, record = subject.memory, place.record
    entries = tuple(
        Write(g.entry, memory.read(g.entry, len(g.original)), g.original)
        for source in sources
        for g in gates_of(source).values()
    )
    fresh = tuple(
        Write(at, memory.read(at, len(content)), content)
        for pending in record.pending
        for at, content in pending.contents()
    )
    begun = [e for e in record.events if e.state == "begun"]
    _, done = place.writes(replace(with_events(record, begun, "abandoned"), pending=()))
    areas = tuple(Forbidden(Range(s.area, s.area + s.area_size), "a gate") for s in sources)
    phases = tuple(p for p in (entries, fresh, _words_back(subject, record)) if p)
    _commit(subject, phases, areas, done)


def _words_back(subject: Subject, record: Record) -> tuple[Write, ...]:
    """What new copies, which nobody used yet, had been made to think of each other."""
    rows = [(record.families[p.family].copies, p) for p in record.pending]
    pairs = [
        (loaded_copy(subject, copies[p.source]), loaded_copy(subject, copies[p.target]))
        for copies, p in rows
    ]
    bases = {target.base for _, target in pairs}
    return tuple(
        write
        for source, target in pairs
        for way in [Leading.of(target, source, pairing_of(target.facts, source.facts), {})]
        for write in slot_writes(
            subject.memory, [t for _, t in pairs if t.base != target.base], [way], bases
        ).writes
    )


def _prepared(
    subject: Subject,
    bases: Sequence[tuple[int, int]],
    options: Options,
    pending: Sequence[Pending] = (),
) -> Preparation:
    """A swap that was begun: its copies are loaded, its gates made."""
    copies = {c.base: c for f in subject.record.families for c in f.copies}
    modules = [tuple(loaded_copy(subject, copies[b]) for b in pair) for pair in bases]
    works = [look(subject, source, target.facts, options) for source, target in modules]
    if pending:
        works = [
            _as_recorded(work, part, target)
            for work, part, (_, target) in zip(works, pending, modules, strict=True)
        ]
    there = Loaded(tuple(Opened(target.link.address) for _, target in modules))
    return Preparation.of(subject, works, there, [Room()] * len(works))


def _as_recorded(work: Work, part: Pending, target: Module) -> Work:
    """With what the swap had begun to exchange, whatever we would find out about the files now.

    Raises:
        RecordDamaged: the record does not say what that is, and we do not find it all.
    """
    base, found = work.source.base, {target.base + p.new: p for p in work.survey.pairs}
    if len(part.places) == len(part.fresh):
        pairs = tuple(
            ObjectPair("", old - base, new - target.base, len(content))
            for old, (new, content) in zip(part.places, part.contents(), strict=True)
        )
    elif all(new in found for new, _ in part.fresh):
        pairs = tuple(found[new] for new, _ in part.fresh)
    else:
        raise RecordDamaged(
            work.subject.identity.pid, "what the swap that was broken off exchanged is not known"
        )
    return replace(work, survey=replace(work.survey, pairs=pairs))


def _commit(
    subject: Subject, phases: tuple[Phase, ...], forbidden: tuple[Forbidden, ...], done: Write
) -> None:
    prepared = Prepared(phases, forbidden, (), (done,))
    commit(subject.identity, subject.memory, prepared, wait=SETTLE_WAIT)
