"""One library of a swap whose new copy is loaded: what is to be written for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from libswap.errors.live import LoadFailed
from libswap.linux.memory import Memory, Range
from libswap.live import gate, leading, plan
from libswap.live.copies import Copy, family_of, gates_of, index_at, loaded_copies, same
from libswap.live.endings import end_writes, handlers, registers_handlers, silenced
from libswap.live.gate import Area, Room
from libswap.live.leading import Leading, Places
from libswap.live.module import Module
from libswap.live.outlook import Work, fitting, pairing_of
from libswap.live.plan import Side, Turn
from libswap.live.quiescence import Forbidden
from libswap.live.registry import CopyRecord, GateRecord, Record
from libswap.live.state import Carried
from libswap.live.subject import Subject
from libswap.live.thread_locals import tls_writes
from libswap.live.wanted import Opened
from libswap.live.writing import Write


@dataclass(frozen=True, slots=True)
class Member:
    """It, as the process is now.

    Attributes:
        copies: of the family, the source and the target included.
        ways: for every copy but the target, where its addresses lead.
        area: the gates of the source.
        targets: entry of the source -> function of the target.
    """

    work: Work
    target: Module
    copies: tuple[Copy, ...]
    ways: tuple[Leading, ...]
    area: Area
    targets: Mapping[int, int]

    @classmethod
    def of(
        cls, work: Work, subject: Subject, record: Record, opened: Opened, room: Room
    ) -> "Member":
        """Look again at a process, now that the new copy is loaded.

        Raises:
            LoadFailed: that is not what was meant.
        """
        target = _target(work, subject, opened)
        source, answers = work.source, opened.answers
        copies = loaded_copies(subject, family_of(record, source), target, opened.path)
        ways = tuple(
            Leading.of(module, target, pairing_of(module.facts, target.facts),
                       answers if module.base == source.base else {})
            for _, module in copies if module.base != target.base
        )  # fmt: skip
        area, targets = _gates(work, opened, target, copies, room)
        return cls(work, target, copies, ways, area, targets)

    @property
    def source(self) -> Module:
        """The copy in use."""
        return self.work.source

    @property
    def used_before(self) -> bool:
        """Whether the target was in use at some time, so that old code may still run in it."""
        return bool(self.side(self.target).gates)

    def index(self, module: Module) -> int:
        """Which of the copies it is."""
        return index_at(self.copies, module.base)

    def side(self, module: Module) -> Side:
        """One of the copies, with its gates."""
        record = self.copies[self.index(module)].record
        return Side(module, gates_of(record), record.deciding)

    def carried(self, fresh: Mapping[int, bytes]) -> Carried:
        """Its part in the exchange of state."""
        work = self.work
        return Carried(
            self.source, self.target, work.pairing, work.survey.pairs, fresh,
            careful=not work.options.force,
        )  # fmt: skip

    def turn(self, ahead: Sequence[Write], places: Sequence[Write]) -> Turn:
        """Its part in the first commit."""
        return Turn(self.side(self.target), self.area, self.targets, ahead, places)

    def slots(self, subject: Subject, retired: Collection[int]) -> Places:
        """Words of other modules that are to lead to the target."""
        own = {c.module.base for c in self.copies}
        others = [m for m in subject.modules if m.base not in own]
        return leading.slot_writes(subject.memory, others, self.ways, retired)

    def tables(self, memory: Memory) -> list[Write]:
        """Symbol tables of all copies, and whose destructors run."""
        source, target = self.source, self.target
        forwarded = [
            write
            for way in self.ways
            for write in leading.symbol_writes(
                memory, way.source, target, pairing_of(way.source.facts, target.facts),
                self.work.elsewhere,
            )
        ]  # fmt: skip
        return [
            *leading.own_symbol_writes(memory, target),
            *forwarded,
            *end_writes(memory, source, silent=True),
            *end_writes(memory, target, silent=False),
        ]

    def handlers(self, subject: Subject) -> list[Write]:
        """What both copies would do at the exit is done by one; see `endings`."""
        new = self.target.facts
        if self.used_before or not (
            registers_handlers(new) and registers_handlers(self.source.facts)
        ):
            return []
        leads = [{e: to[e] for e in gates if e in to} for gates, to in self.settling()]
        found = handlers(subject, [c.module for c in self.copies])
        return list(silenced(found, self.target.extent, leads))

    def own(self, memory: Memory) -> Places:
        """Words of the target's own that are to be set right."""
        own = leading.own_slot_writes(memory, self.target, self.ways)
        tls = tls_writes(memory, self.source, self.target)
        return Places((*own.writes, *tls.writes), tls.findings)

    def settling(self) -> list[tuple[Mapping[int, gate.Gate], Mapping[int, int]]]:
        """For each copy that is not in use its gates, and what its entries are to lead to."""
        others = [
            (self.side(way.source).gates, way.entries)
            for way in self.ways if way.source.base != self.source.base
        ]  # fmt: skip
        return [(self.area.gates, self.targets), *others]

    def forbidden(self) -> tuple[Forbidden, ...]:
        """Where no thread may be."""
        found = plan.forbidden_code(
            self.source, self.work.redirects, relaxed=self.work.options.relaxed
        )
        if self.area.contents:
            return found
        own = self.copies[self.index(self.source)].record
        area = Range(own.area, own.area + own.area_size)
        return (*found, Forbidden(area, "a gate of an earlier swap"))

    def records(self) -> tuple[CopyRecord, ...]:
        """What to note of the copies, the source's gates included."""
        return tuple(self._recorded(c) for c in self.copies)

    def _recorded(self, copy: Copy) -> CopyRecord:
        record, module = copy
        if module.base != self.source.base or not self.area.contents:
            return record
        gates = tuple(
            GateRecord(g.entry - module.base, g.original.hex(), g.first, g.stub)
            for g in self.area.gates.values()
        )
        size = len(self.area.contents)
        return replace(
            record, area=self.area.address, area_size=size, gates=gates, word=self.area.word
        )


def _target(work: Work, subject: Subject, opened: Opened) -> Module:
    """The copy that was loaded, if it is what was meant."""
    found = subject.module_at(opened.handle)
    pid = subject.identity.pid
    if found is None or found.library is None:
        raise LoadFailed(pid, "the new library", "it is not among the loaded modules")
    if found.base == work.source.base:
        raise LoadFailed(pid, found.path, "the process has this very file loaded already")
    if not same(found.facts, work.library):
        raise LoadFailed(pid, found.path, "another file was loaded than the one that was meant")
    return found


def _gates(
    work: Work, opened: Opened, target: Module, copies: Sequence[Copy], room: Room
) -> tuple[Area, dict[int, int]]:
    """The gates of the source, made anew or left from an earlier swap."""
    source, chosen = work.source, work.redirects
    if opened.answers:
        pairing = leading.with_answers(work.pairing, source, target, opened.answers)
        facts = source.facts
        chosen = fitting(facts, work.library, pairing)
    targets = {source.base + r.old: target.base + r.new for r in chosen.redirects}
    if room.area:
        known = copies[index_at(copies, target.base)].record
        inner = plan.inner_targets(Side(target, gates_of(known), known.deciding), targets)
        area = gate.build(source.facts, source.base, chosen.redirects, inner, room)
    else:
        own = copies[index_at(copies, source.base)].record
        area = Area(own.area, b"", gates_of(own), own.deciding)
    return area, {e: t for e, t in targets.items() if e in area.gates}
