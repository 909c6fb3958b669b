"""Move one process from one copy of a library to another, or finish what was begun."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import CommitUndoFailed, LoadFailed, NotSwappable
from libswap.linux.memory import Range
from libswap.live import gate, leading, plan, registry, state
from libswap.live.endings import end_writes
from libswap.live.findings import Finding
from libswap.live.gate import Area, Gate
from libswap.live.leading import Leading
from libswap.live.library import Library
from libswap.live.loading import Loaded, Question, Request, is_spelled, load, spelled, unload
from libswap.live.module import Module
from libswap.live.outlook import (
    Options,
    Outlook,
    Work,
    entries_of,
    gated,
    into_data,
    look,
    pairing_of,
    refused,
    words_into,
)
from libswap.live.plan import Side
from libswap.live.quiescence import Forbidden
from libswap.live.redirect import redirects
from libswap.live.refusal import require_fit
from libswap.live.registry import CopyRecord, Event, Family, GateRecord, Pending, Place, Record
from libswap.live.runtime import runtime_of
from libswap.live.subject import Subject
from libswap.live.thread_locals import tls_writes
from libswap.live.transaction import Committed, Copy, Prepared, Write, commit

_SETTLE_WAIT: Final = 2.0
_IFUNC_ROOM: Final = 192
_PAGE: Final = 4096
_BYTES_PER_GATE: Final = 96

Progress = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """It was done.

    Attributes:
        id: by which it can be taken back.
        stopped_for: seconds that the process stood still, both commits together.
        attempts: how often a safe moment was looked for.
        threads: how many stood still.
        outlook: what was planned.
    """

    id: str
    stopped_for: float
    attempts: int
    threads: int
    outlook: Outlook


def swap(
    subject: Subject,
    source: Module,
    library: Library,
    path: str,
    options: Options,
    *,
    what: str = "swap",
    loaded: Module | None = None,
    hand_over: str = "",
    progress: Progress = lambda _: None,
) -> Swapped:
    """Move a process from the copy in use to another.

    Args:
        subject: the process.
        source: the copy in use.
        library: facts of the copy to be used.
        path: of the new file as the process sees it.
        options: what the user chose.
        what: "swap" or "revert", for the record.
        loaded: the copy to be used, where the process has it already.
        hand_over: our own path of the new file, where the process cannot see it.
        progress: told of each step.

    Raises:
        NotSwappable: something stands in the way; nothing was changed.
        LoadFailed: the process cannot load it.
        CommitBlocked: there was no safe moment; the process is as it was.
        ProcessGone: it ended.
    """
    require_fit(subject.identity)
    progress("look")
    work = look(subject, source, library, options)
    stoppers = work.outlook.stoppers(force=options.force)
    if stoppers:
        raise refused(stoppers)
    runtime = runtime_of(subject.modules)
    family, _ = _family(subject, source)
    if loaded is None:
        _check_alone(subject, source, library)
    request = replace(_request(work, family, path, loaded), hand_over=hand_over)
    progress("load")
    there = load(
        subject.identity, subject.memory, runtime, subject.mappings, request,
        wait=options.wait, timeout=options.constructors,
    )  # fmt: skip
    try:
        progress("prepare")
        return _Swap.of(work, there, what).run(progress)
    except LibswapError as error:
        if loaded is None and not isinstance(error, CommitUndoFailed):
            unload(subject.identity, subject.memory, runtime, request, there, wait=options.wait)
        raise


def _check_alone(subject: Subject, source: Module, library: Library) -> None:
    """The program may have loaded the new file itself, and use it with a state of its own."""
    for module in subject.modules:
        beside = module.link.namespace == source.link.namespace and module.base != source.base
        # One that a killed libswap had loaded, and nobody uses, has a spelling of ours.
        if (
            beside
            and not is_spelled(module.link.name)
            and module.library is not None
            and same(module.facts, library)
        ):
            raise NotSwappable(
                "loaded-twice",
                f"the program has loaded {module.path} beside {source.path}, each with its state",
                "restart the process",
            )


def finish(subject: Subject, options: Options) -> Subject:
    """Finish or take back what a libswap that was killed had begun in this process.

    Returns:
        The process as it is afterwards.

    Raises:
        CommitBlocked: there was no safe moment.
        LibswapError: a copy that took part is no longer there or cannot be read.
    """
    place = subject.place
    if place is None or place.record.pending is None:
        return subject
    record, pending = place.record, place.record.pending
    family = record.families[pending.family]
    source, target = (
        _loaded_copy(subject, family.copies[i]) for i in (pending.source, pending.target)
    )
    area = family.copies[pending.source].area
    if int.from_bytes(subject.memory.read(area, 4), "little") == 0:
        _take_back(subject, place, family.copies[pending.source], pending)
    else:
        work = look(subject, source, target.facts, options)
        there = Loaded(target.link.address, 0, 0, 0)
        _Swap.of(work, there, "").finish(pending)
    return subject.again()


def _take_back(subject: Subject, place: Place, source: CopyRecord, pending: Pending) -> None:
    """The gates were never turned: give the entries their bytes back."""
    memory = subject.memory
    entries = tuple(
        Write(g.entry, memory.read(g.entry, len(g.original)), g.original)
        for g in gates_of(source).values()
    )
    fresh = tuple(
        Write(at, memory.read(at, len(content) // 2), bytes.fromhex(content))
        for at, content in pending.fresh
    )
    events = tuple(
        replace(e, state="abandoned") if e.state == "begun" else e for e in place.record.events
    )
    _, done = place.writes(replace(place.record, events=events, pending=None))
    area = Forbidden(Range(source.area, source.area + source.area_size), "a gate")
    phases = tuple(p for p in (entries, fresh) if p)
    commit(subject.identity, memory, Prepared(phases, (area,), (), (done,)), wait=_SETTLE_WAIT)


def _loaded_copy(subject: Subject, record: CopyRecord) -> Module:
    found = next((m for m in subject.modules if _is_copy(record, m)), None)
    if found is None:
        raise LoadFailed(subject.identity.pid, record.path, "a copy of it was unloaded meanwhile")
    return found


def _is_copy(record: CopyRecord, module: Module) -> bool:
    return (
        module.library is not None
        and (record.base, record.link) == (module.base, module.link.address)
        and record.build_id == module.facts.build_id
    )


def _request(work: Work, family: Family, path: str, loaded: Module | None) -> Request:
    names = {m.link.name for m in work.subject.modules}
    main = work.subject.modules[0].library
    own = next(c for c in family.copies if c.base == work.source.base)
    known = {g.entry for g in own.gates} >= {r.old for r in work.redirects.redirects}
    resolved = [f for f in work.pairing.forwards if f.ifunc]
    need = gate.room(work.redirects.redirects) + _IFUNC_ROOM * len(resolved)
    place = work.subject.place
    record = registry.size_for(place.record if place else Record())
    record += _BYTES_PER_GATE * len(work.redirects.redirects)
    record += 2 * sum(p.size for p in work.survey.pairs)
    return Request(
        path="" if loaded else spelled(path, names),
        keep=work.source.link.name,
        near=work.source.extent,
        neighbour=work.source.link.address if work.source.link.namespace else 0,
        everywhere=main is not None and work.source.facts.dynamic.soname in main.dynamic.needed,
        questions=tuple(Question(f.name, work.source.base + f.old, f.new) for f in resolved),
        area=0 if own.area and known else max(need, _PAGE),
        record=0 if place and place.size >= record else 2 * record,
        handle=loaded.link.address if loaded else 0,
        taken=frozenset(names),
    )


@dataclass(frozen=True, slots=True)
class _Swap:
    """What is prepared between loading and committing.

    Attributes:
        copies: of the family, the source and the target included, with their records.
        ways: for every copy but the target, where its addresses lead.
        area: the gates of the source.
        targets: entry of the source -> function of the target.
    """

    work: Work
    there: Loaded
    what: str
    subject: Subject
    record: Record
    target: Module
    copies: tuple[tuple[CopyRecord, Module], ...]
    ways: tuple[Leading, ...]
    area: Area
    targets: Mapping[int, int]

    @classmethod
    def of(cls, work: Work, there: Loaded, what: str) -> "_Swap":
        """Look again at the process, now that the new copy is loaded."""
        subject = work.subject.again()
        target = _target(work, subject, there)
        family, record = _family(subject, work.source)
        copies = tuple(_copies(subject, family, target))
        ways = tuple(
            Leading.of(module, target, pairing_of(module.facts, target.facts),
                       there.answers if module.base == work.source.base else {})
            for _, module in copies if module.base != target.base
        )  # fmt: skip
        area, targets = _gates(work, there, target, copies)
        return cls(work, there, what, subject, record, target, copies, ways, area, targets)

    def run(self, progress: Progress) -> Swapped:
        """Both commits."""
        work = self.work
        exchanges = self._exchanges({})
        places, before, findings = self._places()
        stoppers = replace(work.outlook, findings=findings).stoppers(force=work.options.force)
        if stoppers:
            raise refused(stoppers)
        memory = self.subject.memory
        phases = plan.switching(
            memory, target=self._side(self.target), area=self.area, targets=self.targets,
            places=places, state=exchanges, followers=self._followers(),
        )  # fmt: skip
        event = self._event()
        begin, switched, abandon = self._records(event, exchanges)
        for write in before:
            memory.write(write.address, write.new)
        progress("switch")
        first = self._switch(
            Prepared(phases, self._forbidden(), (begin,), (switched[1],), (abandon,))
        )
        progress("settle")
        seconds = first.stopped_for
        # What was not settled stays for the next time: only the speed of a call depends on it.
        with suppress(LibswapError):
            seconds += self._settle(switched[0], replace(event, state="done")).stopped_for
        return Swapped(event.id, seconds, first.attempts, first.threads, work.outlook)

    def _switch(self, prepared: Prepared) -> Committed:
        """The first commit. Once the gates are turned it is done, whatever went wrong then."""
        try:
            return self._commit(prepared, self.work.options.wait)
        except BaseException as error:
            if not self._turned():
                raise
            for write in prepared.done:
                self.subject.memory.write(write.address, write.new)
            if not isinstance(error, LibswapError):
                raise
            return Committed(0.0, 1, 0)

    def _turned(self) -> bool:
        try:
            return any(self.subject.memory.read(self.area.address, 4))
        except LibswapError:
            return False

    def finish(self, pending: Pending) -> None:
        """The rest of a swap whose gates were turned before libswap was killed."""
        place = self.subject.place
        assert place is not None  # noqa: S101  the pending commit was read from it
        fresh = {at: bytes.fromhex(content) for at, content in pending.fresh}
        memory, exchanges = self.subject.memory, self._exchanges(fresh)
        places, before, _ = self._places()
        given_back = [w for e in exchanges if (w := e.finish(memory)) is not None]
        phases: list[Sequence[Write]] = [
            *plan.after_the_turn(memory, self._side(self.target), [*places, *before]), given_back,
        ]  # fmt: skip
        events = [e for e in place.record.events if e.state == "begun"]
        record, _ = place.record.with_family(
            pending.family, replace(place.record.families[pending.family], current=pending.target)
        )
        record = replace(record, pending=None)
        for event in events:
            record = record.with_event(replace(event, state="switched"))
        after, done = place.writes(record)
        self._commit(Prepared(tuple(tuple(p) for p in phases if p), (), (), (done,)), _SETTLE_WAIT)
        for event in events[-1:]:
            self._settle(after, replace(event, state="done"))

    def _settle(self, place: Place, event: Event) -> Committed:
        """The second commit."""
        others = [
            (self._side(way.source), way.entries)
            for way in self.ways if way.source.base != self.work.source.base
        ]  # fmt: skip
        phases = plan.settling(self.subject.memory, self.area.gates, others, self.targets)
        followers = self._followers()  # words that were not there when the plan was made
        phases += (followers,) if followers else ()
        _, done = place.writes(place.record.with_event(event))
        return self._commit(Prepared(phases, (), (), (done,)), _SETTLE_WAIT)

    def _commit(self, prepared: Prepared, wait: float) -> Committed:
        return commit(self.subject.identity, self.subject.memory, prepared, wait=wait)

    def _exchanges(self, fresh: Mapping[int, bytes]) -> tuple[state.Exchange, ...]:
        work = self.work
        return state.exchanges(
            self.subject.memory, (work.source, self.target), work.pairing, work.survey.pairs, fresh
        )

    def _followers(self) -> tuple[Copy, ...]:
        """Words elsewhere that point to the source's objects."""
        work = self.work
        if not work.survey.pairs:
            return ()
        found = words_into(self.subject, work.source, work.survey.pairs, (self.target,))
        forward, _ = state.translations((work.source, self.target), work.pairing, work.survey.pairs)
        return state.follow(into_data(self.subject.memory, work.source, found), forward)

    def _places(self) -> tuple[list[Write], list[Write], tuple[Finding, ...]]:
        """Words to change in the first commit, what nobody reaches before it, and findings."""
        memory, source, target = self.subject.memory, self.work.source, self.target
        family = {m.base for _, m in self.copies}
        others = [m for m in self.subject.modules if m.base not in family]
        slot = leading.slot_writes(memory, others, self.ways)
        own = leading.own_slot_writes(memory, target, self.ways)
        tls = tls_writes(memory, source, target)
        writes = [
            *slot.writes,
            *leading.own_symbol_writes(memory, target),
            *self._symbols(),
            *end_writes(memory, source, silent=True),
            *end_writes(memory, target, silent=False),
        ]
        unreached = [Write(self.area.address, b"", self.area.contents)] * bool(self.area.contents)
        if self._side(target).gates:  # it was in use before, and old code may still run in it
            writes += [*own.writes, *tls.writes]
        else:
            unreached += [*own.writes, *tls.writes]
        return writes, unreached, (*slot.findings, *tls.findings)

    def _symbols(self) -> list[Write]:
        return [
            write
            for way in self.ways
            for write in leading.symbol_writes(
                self.subject.memory, way.source, self.target,
                pairing_of(way.source.facts, self.target.facts), self.work.elsewhere,
            )
        ]  # fmt: skip

    def _side(self, module: Module) -> Side:
        record = next(c for c, m in self.copies if m.base == module.base)
        return Side(module, gates_of(record), record.area)

    def _forbidden(self) -> tuple[Forbidden, ...]:
        found = plan.forbidden_code(
            self.work.source, self.work.redirects, relaxed=self.work.options.relaxed
        )
        if self.area.contents:
            return found
        own = next(c for c, m in self.copies if m.base == self.work.source.base)
        area = Range(own.area, own.area + own.area_size)
        return (*found, Forbidden(area, "a gate of an earlier swap"))

    def _event(self) -> Event:
        work = self.work
        return Event(
            secrets.token_hex(4), time.time(), self.what, work.source.path, work.outlook.old,
            work.outlook.new, work.source.base, self.target.base, "begun",
        )  # fmt: skip

    def _records(
        self, event: Event, exchanges: Sequence[state.Exchange]
    ) -> tuple[Write, tuple[Place, Write], Write]:
        """The record when the commit begins, when it is done, and where it is given up."""
        place = self._place()
        records = tuple(self._copy(c, m) for c, m in self.copies)
        source, target = (
            next(i for i, (_, m) in enumerate(self.copies) if m.base == base)
            for base in (self.work.source.base, self.target.base)
        )
        before, number = self.record.with_family(
            self.record.family_of(self.work.source.base), Family(records, source)
        )
        fresh = tuple((at, content.hex()) for at, content in (e.fresh for e in exchanges))
        pending = Pending(number, source, target, fresh)
        begun, begin = place.writes(replace(before.with_event(event), pending=pending))
        after, _ = before.with_family(number, Family(records, target))
        switched = begun.writes(after.with_event(replace(event, state="switched")))
        _, abandon = begun.writes(self._given_up())
        return begin, switched, abandon

    def _given_up(self) -> Record:
        """As it was, but for the new copy, which may stay loaded."""
        index = self.record.family_of(self.work.source.base)
        known = [c for c, _ in self.copies]
        source = next(i for i, c in enumerate(known) if c.base == self.work.source.base)
        return self.record.with_family(index, Family(tuple(known), source))[0]

    def _copy(self, record: CopyRecord, module: Module) -> CopyRecord:
        if module.base != self.work.source.base or not self.area.contents:
            return record
        gates = tuple(
            GateRecord(g.entry - module.base, g.original.hex(), g.first, g.stub)
            for g in self.area.gates.values()
        )
        size = len(self.area.contents)
        return replace(record, area=self.area.address, area_size=size, gates=gates)

    def _place(self) -> Place:
        if not self.there.record:
            assert self.subject.place is not None  # noqa: S101  else one was asked for
            return self.subject.place
        mapping = next(m for m in self.subject.mappings if m.start == self.there.record)
        place, write = registry.blank(mapping.start, mapping.end - mapping.start)
        self.subject.memory.write(write.address, write.new)
        number = self.subject.place.number if self.subject.place else 0
        return replace(place, number=number)


def _target(work: Work, subject: Subject, there: Loaded) -> Module:
    """The copy that was loaded, if it is what was meant."""
    found = subject.module_at(there.handle)
    pid = subject.identity.pid
    if found is None or found.library is None:
        raise LoadFailed(pid, "the new library", "it is not among the loaded modules")
    if found.base == work.source.base:
        raise LoadFailed(pid, found.path, "the process has this very file loaded already")
    if not same(found.facts, work.library):
        raise LoadFailed(pid, found.path, "another file was loaded than the one that was meant")
    return found


def _family(subject: Subject, source: Module) -> tuple[Family, Record]:
    record = subject.place.record if subject.place else Record()
    index = record.family_of(source.base)
    if index is not None:
        return record.families[index], record
    return Family((_copy_record(source),), 0), record


def _copies(subject: Subject, family: Family, target: Module) -> list[tuple[CopyRecord, Module]]:
    """Every copy of the family that is still loaded, the source and the target included."""
    found = [(c, m) for c in family.copies for m in subject.modules if _is_copy(c, m)]
    if all(m.base != target.base for _, m in found):
        found.append((_copy_record(target), target))
    return found


def _copy_record(module: Module) -> CopyRecord:
    return CopyRecord(module.link.address, module.base, module.path, module.facts.build_id)


def _gates(
    work: Work, there: Loaded, target: Module, copies: Sequence[tuple[CopyRecord, Module]]
) -> tuple[Area, dict[int, int]]:
    """The gates of the source, made anew or left from an earlier swap."""
    source, chosen = work.source, work.redirects
    if there.answers:
        pairing = leading.with_answers(work.pairing, source, target, there.answers)
        facts = source.facts
        chosen = gated(facts, redirects(facts, pairing, entries_of(facts)))
    targets = {source.base + r.old: target.base + r.new for r in chosen.redirects}
    if there.area:
        known = next(c for c, m in copies if m.base == target.base)
        inner = plan.inner_targets(Side(target, gates_of(known), known.area), targets)
        area = gate.build(source.facts, source.base, chosen.redirects, inner, there.area)
    else:
        own = next(c for c, m in copies if m.base == source.base)
        area = Area(own.area, b"", gates_of(own))
    return area, {e: t for e, t in targets.items() if e in area.gates}


def gates_of(record: CopyRecord) -> dict[int, Gate]:
    """The gates that a record speaks of, by entry."""
    return {
        record.base + g.entry: Gate(
            record.base + g.entry, bytes.fromhex(g.original), g.first, g.stub
        )
        for g in record.gates
    }


def library_in_use(record: Record, base: int) -> int:
    """The load base of the copy that is in use of the family that a copy belongs to."""
    index = record.family_of(base)
    if index is None:
        return base
    family = record.families[index]
    return family.copies[family.current].base


def same(one: Library, other: Library) -> bool:
    """Whether two files are the same build."""
    return one is other or bool(one.build_id and one.build_id == other.build_id)
