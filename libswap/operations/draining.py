"""Drain a library in a process: begin it, end it, take it back, and say how far it has come."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.handles import HandlesUnknown
from libswap.errors.live import CommitBlocked, CommitConflict, NotSwappable
from libswap.live.draining import begin, end
from libswap.live.draining.begin import Limit
from libswap.live.draining.outlook import DrainOutlook, Work, look
from libswap.live.draining.parties import Parties
from libswap.live.draining.reading import description_for
from libswap.live.draining.record import DrainRecord, Stage, Then
from libswap.live.draining.remains import Remains, remains
from libswap.live.findings import risk
from libswap.live.module import Module
from libswap.live.move import Move
from libswap.live.outlook import Options
from libswap.live.subject import Subject


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """How to drain.

    Attributes:
        handles: further descriptions of handles, asked first.
        limit: seconds that it may take; 0 for any time.
        then: what becomes of it then.
    """

    handles: tuple[Path, ...] = ()
    limit: float = 0.0
    then: Then = Then.KEEP


@dataclass(frozen=True, slots=True)
class DrainPlanned:
    """What would be done; nothing was."""

    outlook: DrainOutlook


@dataclass(frozen=True, slots=True)
class DrainBegun:
    """Old objects stay with the old code from now on; what is new goes to the new code."""

    id: str
    stopped_for: float
    attempts: int
    threads: int
    outlook: DrainOutlook


@dataclass(frozen=True, slots=True)
class Left:
    """What is known of a drain's objects.

    Attributes:
        id: of the drain.
        library: path of the copy that made the old objects.
        back: whether it is being taken back: then the new objects are waited for.
        seen: old objects that were used since the drain began, and are not gone.
        found: old objects that were not used since, but found in memory.
        calls: how often those that were seen were used.
        new: new objects that are not gone.
        doubts: why more old ones may be left.
        until: when its time is up, in seconds since the epoch; 0 for never.
        then: what becomes of it then.
        overdue: whether its time is up.
    """

    id: str
    library: str
    back: bool
    seen: int
    found: int
    calls: int
    new: int
    doubts: tuple[str, ...]
    until: float
    then: Then
    overdue: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """No old object was left: all calls go straight to the new copy."""

    id: str
    stopped_for: float


@dataclass(frozen=True, slots=True)
class TakenBack:
    """No new object was left: the process is as it was before."""

    id: str
    stopped_for: float


@dataclass(frozen=True, slots=True)
class StillDraining:
    """Objects of both copies are left, or no safe moment was found."""

    left: Left
    reason: str = ""


DrainOutcome: TypeAlias = Settled | TakenBack | StillDraining


@dataclass(frozen=True, slots=True)
class Start:
    """One library in one process that is to be drained.

    Attributes:
        subject: the process.
        move: from the copy in use to the new file.
        options: as for every swap.
        chosen: what draining adds to them.
        broken: what makes the new library incompatible.
    """

    subject: Subject
    move: Move
    options: Options
    chosen: DrainOptions
    broken: tuple[str, ...] = ()

    def plan(self) -> DrainPlanned:
        """What would be done.

        Raises:
            HandlesUnknown: nobody has described the library's handles.
        """
        outlook = self._work().outlook
        found = tuple(risk("abi", self.move.path, text) for text in self.broken)
        return DrainPlanned(replace(outlook, findings=(*found, *outlook.findings)))

    def run(self, progress: Callable[[str], None]) -> DrainBegun:
        """Begin it.

        Raises:
            HandlesUnknown: nobody has described the library's handles.
            LibswapError: see `libswap.live.draining.begin.begin`.
        """
        done = begin.begin(
            self._work(), self.move, Limit(self.chosen.limit, self.chosen.then), progress=progress
        )  # fmt: skip
        return DrainBegun(done.id, done.stopped_for, done.attempts, done.threads, done.outlook)

    def _work(self) -> Work:
        source = self.move.source
        description = description_for(_sonames(source), self.chosen.handles)
        return look(self.subject, source, self.move.library, description, self.options)


def refused_together(sources: Sequence[Module], chosen: DrainOptions) -> NotSwappable:
    """Why several libraries are not drained in one commit, and what works for these."""
    names = ", ".join(Path(s.path).name for s in sources)
    alone = [Path(s.path).name for s in sources if _is_drainable(s, chosen)]
    return NotSwappable(
        "drain-set",
        f"{names}: an object of one of them holds objects of the others, and which copy made those"
        " is not known",
        f"drain {', then '.join(alone)} alone; the new copy uses what is loaded of the others"
        if alone
        else "restart the process: none of them can be drained alone",
    )  # fmt: skip


def _is_drainable(source: Module, chosen: DrainOptions) -> bool:
    with suppress(HandlesUnknown):
        return not description_for(_sonames(source), chosen.handles).risk
    return False


def _sonames(source: Module) -> list[str]:
    return [n for n in (source.facts.dynamic.soname, Path(source.path).name) if n]


def finish(subject: Subject, options: Options) -> Subject:
    """Bring to its end what a libswap that was killed had begun."""
    return end.finish(subject, wait=options.wait)


def settle(
    subject: Subject, drain: DrainRecord, options: Options, *, force: bool = False
) -> DrainOutcome:
    """Go as far as possible: to its end, or back where it is on its way back or its time is up."""
    overdue = drain.until and time.time() >= drain.until and drain.then is Then.REVERT
    if drain.stage is Stage.GOING_BACK:
        return go_back(subject, drain, options)
    try:
        done = end.settle(subject, drain, force=force, wait=options.wait)
    except (CommitBlocked, CommitConflict) as error:
        return StillDraining(left(subject, drain), error.message)
    if isinstance(done, end.Settled):
        return Settled(done.id, done.stopped_for)
    if overdue:
        return go_back(subject, drain, options)
    return StillDraining(_left(subject, drain, done.remains))


def go_back(
    subject: Subject, drain: DrainRecord, options: Options, *, dry_run: bool = False
) -> DrainOutcome:
    """Let the old copy make all objects again, and end it when no new one is left."""
    if dry_run:
        return StillDraining(left(subject, drain))
    try:
        done = end.go_back(subject, drain, wait=options.wait)
    except (CommitBlocked, CommitConflict) as error:
        subject = subject.again()
        return StillDraining(left(subject, end.current(subject, drain)), error.message)
    if isinstance(done, end.TakenBack):
        return TakenBack(done.id, done.stopped_for)
    return StillDraining(_left(subject, end.current(subject.again(), drain), done.remains))


def drains_of(subject: Subject) -> tuple[DrainRecord, ...]:
    """The drains of a process."""
    return subject.record.drains


def settle_quietly(subject: Subject, options: Options) -> Subject:
    """End whatever drain has come to its end, and leave the others as they are."""
    for drain in drains_of(subject):
        with suppress(LibswapError):
            settle(subject, drain, options)
        subject = subject.again()
    return subject


def library_of(subject: Subject, drain: DrainRecord) -> str:
    """The path of the copy that made the old objects."""
    place = subject.place
    assert place is not None  # noqa: S101  the drain was read from it
    family = place.record.families[drain.family]
    return next(c.path for c in family.copies if c.base == drain.source)


def left(subject: Subject, drain: DrainRecord) -> Left:
    """What is known of a drain's objects."""
    return _left(subject, drain, remains(subject, Parties.of(subject, drain)))


def _left(subject: Subject, drain: DrainRecord, found: Remains) -> Left:
    return Left(
        id=drain.event,
        library=library_of(subject, drain),
        back=drain.stage is Stage.GOING_BACK,
        seen=len(found.seen), found=len(found.found), calls=sum(e.uses + 1 for e in found.seen),
        new=found.new, doubts=found.doubts(), until=drain.until, then=drain.then,
        overdue=bool(drain.until) and time.time() >= drain.until,
    )  # fmt: skip
