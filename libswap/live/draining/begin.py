"""Begin to drain: load the new copy, put dispatchers at every entry, turn them on at one word."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import CommitUndoFailed, LoadFailed, NotSwappable
from libswap.linux.memory import Range
from libswap.live import gate, mapped, registry
from libswap.live.arch import x86_64_dispatch as dispatch
from libswap.live.arch.x86_64_lookup import Grounds
from libswap.live.choice import borrow
from libswap.live.copies import is_copy, recorded, same
from libswap.live.draining import table
from libswap.live.draining.outlook import DrainOutlook, Work
from libswap.live.draining.record import DrainRecord, Stage, Then
from libswap.live.entries import JUMP_SIZE
from libswap.live.gate import Area, Room
from libswap.live.leading import Leading, own_slot_writes
from libswap.live.loading import load, unload
from libswap.live.module import Module
from libswap.live.move import Move
from libswap.live.outlook import pairing_by_name_of, refused
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting, require_fit
from libswap.live.registry import CopyRecord, Event, Family, GateRecord, Place, Record
from libswap.live.runtime import Runtime, runtime_of
from libswap.live.spelling import spelled
from libswap.live.subject import Subject
from libswap.live.transaction import commit
from libswap.live.wanted import Loaded, Request, Wanted
from libswap.live.writing import Phase, Prepared, Write

_BYTES_PER_GATE: Final = 160
_ON: Final = b"\1\0\0\0"


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a drain may take.

    Attributes:
        seconds: from now on; 0 for any time.
        then: what becomes of it then.
    """

    seconds: float = 0.0
    then: Then = Then.KEEP


@dataclass(frozen=True, slots=True)
class Begun:
    """Old objects stay with the old code from now on, and new ones go to the new code.

    Attributes:
        id: by which it can be taken back.
        stopped_for: seconds that the process stood still.
        attempts: how often a safe moment was looked for.
        threads: how many stood still.
        outlook: what was planned.
    """

    id: str
    stopped_for: float
    attempts: int
    threads: int
    outlook: DrainOutlook


def begin(
    work: Work, move: Move, limit: Limit, *, progress: Callable[[str], None] = lambda _: None
) -> Begun:
    """Do it.

    Args:
        work: the plan.
        move: what is asked for; the copy to be used is loaded already where a drain was taken back.
        limit: how long it may take.
        progress: told of each step.

    Raises:
        NotSwappable: something stands in the way; nothing was changed.
        LoadFailed: the process cannot load it.
        CommitBlocked: there was no safe moment; the process is as it was.
        ProcessGone: it ended.
    """
    subject = work.subject
    require_fit(subject.identity)
    stoppers = work.outlook.stoppers(force=work.options.force)
    if stoppers:
        raise refused(stoppers)
    runtime = runtime_of(subject.modules)
    request = _request(work, move)
    progress("load")
    there = load(
        subject.identity, subject.memory, runtime, subject.mappings, request,
        wait=work.options.wait, timeout=work.options.constructors,
    )  # fmt: skip
    at = 0
    try:
        progress("prepare")
        at = _table(work, runtime)
        return _Beginning.of(work, move, there, at, limit).run(progress)
    except LibswapError as error:
        if move.loaded is None and not isinstance(error, CommitUndoFailed):
            unload(
                subject.identity, subject.memory, runtime, request, there, wait=work.options.wait,
                more=[(at, table.ALLOCATED)],
            )  # fmt: skip
        raise


def _request(work: Work, move: Move) -> Request:
    subject, source = work.subject, work.source
    names = {m.link.name for m in subject.modules}
    count = len(work.chosen.redirects)
    record = registry.size_for(subject.record)
    record += _BYTES_PER_GATE * count
    rules = (work.rules[r.old] for r in work.chosen.redirects)
    wanted = Wanted(
        path="" if move.loaded else spelled(move.path, names),
        keep=source.link.name,
        content=bytes(move.library.image.data[:]) if move.hand_over else None,
        handle=move.loaded.link.address if move.loaded else 0,
    )
    return Request(
        libraries=(wanted,),
        near=source.extent,
        neighbour=source.link.address if source.link.namespace else 0,
        area=gate.room(work.chosen.redirects) + dispatch.room(rules),
        record=0 if subject.place and subject.place.size >= record else 2 * record,
        taken=frozenset(names),
    )


def _table(work: Work, runtime: Runtime) -> int:
    """Memory for the table of handles; pages that nobody writes to cost nothing."""
    identity, wait = work.subject.identity, work.options.wait
    with borrow(
        identity, work.subject.memory, avoid=runtime.avoid, deadline=time.monotonic() + wait,
        errno_location=runtime.errno_location, loader_locks=runtime.loader_locks,
        lift_seccomp=needs_lifting(identity.pid),
    ) as thread:  # fmt: skip
        outcome = thread.run([mapped.sparse(table.ALLOCATED)], timeout=wait)
    found = outcome.results[0] if outcome.results else 0
    if not found or mapped.error_of(found):
        raise LoadFailed(identity.pid, work.source.path, "no memory for the table of handles")
    return found


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What is prepared between loading and committing."""

    work: Work
    move: Move
    there: Loaded
    subject: Subject
    target: Module
    table: int
    area: Area
    functions: dict[int, int]
    limit: Limit

    @classmethod
    def of(cls, work: Work, move: Move, there: Loaded, at: int, limit: Limit) -> "_Beginning":
        """Look again at the process, now that the new copy is loaded."""
        subject = work.subject.again()
        target = _target(work, subject, there)
        source = work.source
        functions = {source.base + r.old: target.base + r.new for r in work.chosen.redirects}
        area = _area(work, target, functions, there.area, at)
        return cls(work, move, there, subject, target, at, area, functions, limit)

    def run(self, progress: Callable[[str], None]) -> Begun:
        """The commit."""
        memory = self.subject.memory
        begun, done, abandoned, id_ = self._records()
        memory.write(self.area.address, self.area.contents)
        memory.write(self.table + table.DIRECTION, _ON)
        for write in self._own_slots():
            memory.write(write.address, write.new)
        gates = tuple(Write(g.entry, g.original, g.closed) for g in self.area.gates.values())
        phases: tuple[Phase, ...] = (gates, (Write(self.area.word, bytes(4), _ON),))
        progress("switch")
        prepared = Prepared(phases, tuple(self._forbidden()), (begun,), (done,), (abandoned,))
        result = commit(self.subject.identity, memory, prepared, wait=self.work.options.wait)
        return Begun(id_, result.stopped_for, result.attempts, result.threads, self.work.outlook)

    def _forbidden(self) -> list[Forbidden]:
        """Only the bytes that are overwritten: calls that are running end in the old code."""
        base = self.work.source.base
        return [
            Forbidden(
                Range(base + r.old, base + r.old + (r.size if r.whole else JUMP_SIZE)), r.name
            )
            for r in self.work.chosen.redirects
        ]

    def _own_slots(self) -> tuple[Write, ...]:
        """The new copy's references to its own exports, which were bound to the old one."""
        source, target = self.work.source, self.target
        pairing = pairing_by_name_of(source.facts, target.facts)
        way = Leading.of(source, target, pairing, {})
        return own_slot_writes(self.subject.memory, target, [way]).writes

    def _records(self) -> tuple[Write, Write, Write, str]:
        """The record when the commit begins, when it is done, and where it is given up."""
        work, place = self.work, self._place()
        id_, now = secrets.token_hex(4), time.time()
        index, family = self._family(place.record)
        before, number = place.record.with_family(index, family)
        event = Event(
            id_, now, "drain", work.source.path, work.outlook.old, work.outlook.new,
            work.source.base, self.target.base, "begun",
        )  # fmt: skip
        drain = DrainRecord(
            event=id_, family=number, source=work.source.base, target=self.target.base,
            table=self.table, description=work.description.name,
            pointers=work.description.pointers, linked=work.description.linked,
            anchors=work.description.anchors, hidden=work.description.hidden,
            code=work.description.code, values=work.description.values,
            functions=tuple(self.functions.items()), stage=Stage.BEGINNING, then=self.limit.then,
            until=now + self.limit.seconds if self.limit.seconds else 0.0,
        )  # fmt: skip
        begun, begin = place.writes(before.with_event(event).with_drain(drain))
        after = before.with_event(replace(event, state="draining"))
        _, done = begun.writes(after.with_drain(replace(drain, stage=Stage.DRAINING)))
        _, abandoned = begun.writes(before)
        return begin, done, abandoned, id_

    def _family(self, record: Record) -> tuple[int | None, Family]:
        """The copies of the library, the source with its new gates."""
        source, target = self.work.source, self.target
        index = record.family_of(source.base)
        known = record.families[index].copies if index is not None else (recorded(source),)
        copies = [c for c in known if any(is_copy(c, m) for m in self.subject.modules)]
        if all(c.base != target.base for c in copies):
            copies.append(recorded(target, self.there.libraries[0].path))
        copies = [self._with_gates(c) if c.base == source.base else c for c in copies]
        at = next(i for i, c in enumerate(copies) if c.base == source.base)
        return index, Family(tuple(copies), at)

    def _with_gates(self, copy: CopyRecord) -> CopyRecord:
        gates = tuple(
            GateRecord(g.entry - copy.base, g.original.hex(), g.first, g.stub)
            for g in self.area.gates.values()
        )
        return replace(copy, area=self.area.address, area_size=len(self.area.contents), gates=gates)

    def _place(self) -> Place:
        if not self.there.record:
            assert self.subject.place is not None  # noqa: S101  else one was asked for
            return self.subject.place
        mapping = next(m for m in self.subject.mappings if m.start == self.there.record)
        place, write = registry.blank(mapping.start, mapping.end - mapping.start)
        self.subject.memory.write(write.address, write.new)
        if self.subject.place is None:
            return place
        return replace(place, number=self.subject.place.number, record=self.subject.place.record)


def _target(work: Work, subject: Subject, there: Loaded) -> Module:
    """The copy that was loaded, if it is what was meant."""
    found, pid = subject.module_at(there.libraries[0].handle), subject.identity.pid
    if found is None or found.library is None:
        raise LoadFailed(pid, "the new library", "it is not among the loaded modules")
    if found.base == work.source.base:
        raise LoadFailed(pid, found.path, "the process has this very file loaded already")
    if not same(found.facts, work.library):
        raise LoadFailed(pid, found.path, "another file was loaded than the one that was meant")
    record = subject.record
    copies = [c for f in record.families for c in f.copies if c.base == found.base]
    if any(c.gates for c in copies):
        raise NotSwappable(
            "drain-used-before", f"{found.path} was in use before, and its entries lead on",
            "restart the process",
        )  # fmt: skip
    return found


def _area(work: Work, target: Module, functions: dict[int, int], at: int, handles: int) -> Area:
    """The gates, each leading to its dispatcher, and the dispatchers behind them."""
    source, redirects = work.source, work.chosen.redirects
    first = gate.build(source.facts, source.base, redirects, functions, Room(at, at))
    begin = at + -(-len(first.contents) // 64) * 64
    whole = Range(at, begin + dispatch.room(work.rules[r.old] for r in redirects))
    doubles = any(work.rules[r.old].doubled for r in redirects)
    named = {
        name.name: first.gates[source.base + symbol.value].first
        for name, symbol in source.facts.exported.items()
        if source.base + symbol.value in first.gates
    }
    tells = work.description.tells
    grounds = Grounds(source.extent, whole, begin, target.extent, handles, doubles, tells)
    wanted = [
        dispatch.Wanted(
            work.rules[r.old], first.gates[source.base + r.old].first,
            functions[source.base + r.old],
            named.get(work.rules[r.old].undone, 0),
        )
        for r in redirects
    ]  # fmt: skip
    code, starts = dispatch.dispatchers(grounds, wanted, begin)
    leads = {source.base + r.old: to for r, to in zip(redirects, starts, strict=True)}
    gates = gate.build(source.facts, source.base, redirects, leads, Room(at, at))
    contents = gates.contents.ljust(begin - at, b"\xcc") + code
    return Area(at, contents, gates.gates, at)
