"""Bring a drain to its end: forward when no old object is left, or back when no new one is.

Going forward, one word settles it: dispatchers then take every handle that they do not know for the
new copy's. What follows only makes calls straight. Going back, one word lets the old copy make all
objects again, and when the last new one is gone the gates' word gives every entry its own code.
"""

from dataclasses import dataclass, replace
from typing import Final

from libswap.errors.live import NotSwappable
from libswap.linux.memory import Range
from libswap.live import plan
from libswap.live.draining import table
from libswap.live.draining.parties import Parties
from libswap.live.draining.record import DrainRecord, Stage
from libswap.live.draining.remains import Remains, remains
from libswap.live.got import copied_objects
from libswap.live.leading import slot_writes, symbol_writes
from libswap.live.module import Module
from libswap.live.outlook import pairing_by_name_of
from libswap.live.quiescence import Forbidden
from libswap.live.redirect import code_ranges
from libswap.live.registry import Record
from libswap.live.subject import Subject
from libswap.live.transaction import Committed, commit
from libswap.live.writable import without
from libswap.live.writing import Phase, Prepared, Write

_ON: Final = b"\1\0\0\0"
_OFF: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class Settled:
    """Every object is the new copy's, and calls go straight to it.

    Attributes:
        id: of the drain.
        stopped_for: seconds that the process stood still.
    """

    id: str
    stopped_for: float


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Every object is the old copy's, as before the drain.

    Attributes:
        id: of the drain.
        stopped_for: seconds that the process stood still.
    """

    id: str
    stopped_for: float


@dataclass(frozen=True, slots=True)
class Draining:
    """There are objects of both copies.

    Attributes:
        id: of the drain.
        back: whether it is being taken back: then it ends with the last new object.
        remains: what is left.
    """

    id: str
    back: bool
    remains: Remains


def settle(subject: Subject, drain: DrainRecord, *, force: bool, wait: float) -> Settled | Draining:
    """Finish a drain if no old object is left.

    Args:
        subject: the process.
        drain: what its record says.
        force: do it where none is known to be left, though some may be.
        wait: seconds to wait for a moment when no thread is in the old copy.

    Raises:
        CommitBlocked: a thread was always in the old copy; nothing was changed.
        CommitConflict: an old object was used meanwhile that was not known; nothing was changed.
        ProcessGone: it ended.
    """
    parties = Parties.of(subject, drain)
    left = remains(subject, parties)
    if not left.proven_empty and not (force and not left.known):
        return Draining(drain.event, back=False, remains=left)
    done = _Ending(subject, parties, wait).settle(left)
    return Settled(drain.event, done.stopped_for)


def go_back(subject: Subject, drain: DrainRecord, *, wait: float) -> TakenBack | Draining:
    """Let the old copy make all objects again, and end the drain if no new one is left.

    Raises:
        CommitBlocked: a thread was always in the new copy; the old one makes the objects.
        CommitConflict: a new object was made at the last moment; the old one makes them now.
        ProcessGone: it ended.
    """
    ending = _Ending(subject, Parties.of(subject, drain), wait)
    ending.turn_back()
    subject = subject.again()
    ending = _Ending(subject, Parties.of(subject, current(subject, drain)), wait)
    left = remains(subject, ending.parties)
    if left.new:
        return Draining(drain.event, back=True, remains=left)
    return TakenBack(drain.event, ending.restore(left).stopped_for)


def finish(subject: Subject, *, wait: float) -> Subject:
    """Finish or take back what a libswap that was killed had begun.

    Returns:
        The process as it is afterwards.
    """
    record = subject.record
    for drain in record.drains:
        if drain.unfinished:
            ending = _Ending(subject, Parties.of(subject, drain), wait)
            ending.finish()
            subject = subject.again()
    return subject


def current(subject: Subject, drain: DrainRecord) -> DrainRecord:
    """What the process's record says of a drain now."""
    record = subject.record
    return next((d for d in record.drains if d.event == drain.event), drain)


def refuse_beside(record: Record, base: int, pid: int) -> None:
    """Nothing else may change a library while it is drained.

    Raises:
        NotSwappable: it is.
    """
    if record.drain_of(base) is not None:
        raise NotSwappable(
            "draining", "it is being drained: objects of two copies are in use",
            f"libswap live LIB --settle, or libswap revert {pid}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Ending:
    subject: Subject
    parties: Parties
    wait: float

    def finish(self) -> None:
        """Of whatever was begun, by what the deciding words say."""
        parties = self.parties
        match parties.drain.stage:
            case Stage.BEGINNING if self._word(parties.own.area) == _OFF:
                self._commit((self._entries_back(),), self._without("abandoned"), self._gates())
            case Stage.SETTLING if self._word(parties.drain.table + table.SETTLED) != _OFF:
                self._commit((*self._straight(),), self._settled(), self._gates())
            case Stage.BEGINNING | Stage.SETTLING:
                self._write(self._at(Stage.DRAINING))
            case _:
                self._put_back(None)

    def settle(self, left: Remains) -> Committed:
        """The one word, guarded by the count of old objects that were met; then straight calls."""
        handles, memory = self.parties.drain.table, self.subject.memory
        met = left.met.to_bytes(4, "little")
        phases: tuple[Phase, ...] = (
            (Write(handles + table.MET, met, met),),
            (Write(handles + table.SETTLED, memory.read(handles + table.SETTLED, 4), _ON),),
            *self._straight(),
        )
        return self._commit(
            phases, self._settled(), self._inside(self.parties.source, "old"),
            begun=self._at(Stage.SETTLING),
        )  # fmt: skip

    def turn_back(self) -> None:
        """The record first: whoever reads it then knows what an unturned word means."""
        self._write(self._at(Stage.GOING_BACK))
        self.subject.memory.write(self.parties.drain.table + table.DIRECTION, _OFF)

    def restore(self, left: Remains) -> Committed:
        """Every entry its own code again, guarded by the count of new objects that were made."""
        return self._put_back(left.made)

    def _put_back(self, made: int | None) -> Committed:
        handles, area = self.parties.drain.table, self.parties.own.area
        now = self.subject.memory.read(area, 4)
        guard: tuple[Phase, ...] = ()
        if made is not None:
            count = made.to_bytes(4, "little")
            guard = ((Write(handles + table.MADE, count, count),),)
        phases = (*guard, (Write(area, now, _OFF),), self._entries_back())
        inside = self._inside(self.parties.target, "new")
        begun = self._at(Stage.RESTORING)
        return self._commit(phases, self._without("reverted"), inside, begun=begun)

    # Parts

    def _word(self, address: int) -> bytes:
        return self.subject.memory.read(address, 4)

    def _entries_back(self) -> Phase:
        memory = self.subject.memory
        return tuple(
            Write(g.entry, memory.read(g.entry, len(g.original)), g.original)
            for g in self.parties.gates.values()
        )

    def _straight(self) -> tuple[Phase, ...]:
        """Every entry to its function, slots and the symbol tables."""
        memory, parties = self.subject.memory, self.parties
        ways = parties.ways()
        family = {m.base for _, m in parties.copies}
        others = [m for m in self.subject.modules if m.base not in family]
        places = [*slot_writes(memory, others, ways, ()).writes]
        main = self.subject.modules[0]
        elsewhere = frozenset(copied_objects(main)) if main.library is not None else frozenset()
        for way in ways:
            pairing = pairing_by_name_of(way.source.facts, parties.target.facts)
            places += symbol_writes(memory, way.source, parties.target, pairing, elsewhere)
        entries = plan.settling(memory, parties.straight())
        return tuple(p for p in (*entries, tuple(places)) if p)

    def _inside(self, copy: Module, which: str) -> tuple[Forbidden, ...]:
        code = [Range(copy.base + c.start, copy.base + c.end) for c in code_ranges(copy.facts)]
        if copy.base == self.parties.source.base:  # a pointer to a function is no return address
            code = [*without(code, [Range(e, e + 1) for e in self.parties.gates])]
        return (*(Forbidden(part, f"the {which} copy") for part in code), *self._gates())

    def _gates(self) -> tuple[Forbidden, ...]:
        return (Forbidden(self.parties.area, "a dispatcher"),)

    # The record

    def _at(self, stage: Stage) -> Write:
        drain = replace(self.parties.drain, stage=stage)
        record = self.parties.place.record.with_drain(drain)
        if stage is Stage.DRAINING:
            record = _with_state(record, drain, "draining")
        return self.parties.place.writes(record)[1]

    def _settled(self) -> Record:
        parties = self.parties
        record = parties.place.record.without_drain(parties.drain)
        family = replace(parties.family, current=parties.target_index)
        record, _ = record.with_family(parties.drain.family, family)
        return _with_state(record, parties.drain, "done")

    def _without(self, state: str) -> Record:
        record = self.parties.place.record.without_drain(self.parties.drain)
        return _with_state(record, self.parties.drain, state)

    def _write(self, write: Write) -> None:
        self.subject.memory.write(write.address, write.new)

    def _commit(
        self, phases: tuple[Phase, ...], done: Record, forbidden: tuple[Forbidden, ...],
        *, begun: Write | None = None,
    ) -> Committed:  # fmt: skip
        place = self.parties.place
        first: tuple[Write, ...] = ()
        abandoned: tuple[Write, ...] = ()
        if begun is not None:
            first = (begun,)
            place = replace(place, number=place.number + 1)
            abandoned = (place.writes(self.parties.place.record)[1],)
        prepared = Prepared(
            tuple(p for p in phases if p), forbidden, first, (place.writes(done)[1],), abandoned
        )
        return commit(self.subject.identity, self.subject.memory, prepared, wait=self.wait)


def _with_state(record: Record, drain: DrainRecord, state: str) -> Record:
    events = tuple(replace(e, state=state) if e.id == drain.event else e for e in record.events)
    return replace(record, events=events)
