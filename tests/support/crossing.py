"""From one version of a library to another by draining: with objects half way, and under load."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from libswap.live.draining import table
from libswap.live.draining.table import Contents
from libswap.live.findings import Finding
from libswap.live.got import slots
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.subject import Subject
from libswap.operations.draining import (
    DrainBegun,
    DrainOptions,
    DrainPlanned,
    Settled,
    StillDraining,
)
from libswap.operations.moves import Outcome, Refused
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from libswap.process.identity import Identity
from support.driven import Target
from support.encounter import answer, driver, install, load, soname, started

_SOME: Final = 3
"""Rounds of each worker from one attempt to settle to the next."""
_ATTEMPTS: Final = 30
_PATIENT: Final = 5
"""Attempts before words that may be those of freed memory no longer count."""
_WORDS: Final = "point into the old copy"
_FORCED: Final = {"drain-risk", "drain-data", "abi"}
"""What the user is warned of and may force: one file in two copies, settings of the whole library
that the new copy does not know, a symbol that nobody uses."""
_LATER: Final = 10
"""Rounds of each worker after the drain."""


class End(Enum):
    """How far it came."""

    CROSSED = "crossed"
    REFUSED = "refused"
    UNSETTLED = "not settled"
    WRONG = "wrong"
    """A wrong answer, or the end of the process."""
    UNUSABLE = "no case"
    """The driver does not work with the old version alone."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """One pair of versions in one process.

    Attributes:
        end: how far it came.
        told: how the drain was begun and ended, why it was not, or what was wrong.
        rounds: before it began, while it lasted, and afterwards; none where objects were held.
    """

    end: End
    told: str
    rounds: tuple[int, ...] = ()


class Wrong(Exception):
    """The program says that something is wrong, or has died."""


class Scene:
    """A process that uses one build of a library, whose name another one has now."""

    def __init__(self, target: Target, library: Path) -> None:
        self.target = target
        self.library = library

    def drain(self, *, force: bool = False, dry_run: bool = False) -> Outcome:
        request = Request(
            self.library,
            pids=(self.target.pid,),
            options=Options(force=force),
            drain=DrainOptions(),
            dry_run=dry_run,
        )
        return swap_library(request).processes[0].outcome

    def settle(self, *, force: bool = False) -> Outcome:
        return settle([self.library], [self.target.pid], Options(force=force)).processes[0].outcome

    def known(self) -> Contents:
        """What the table says, but for objects that a library has as its own data."""
        with self._subject() as subject:
            found = table.contents(subject.memory, subject.record.drains[0].table)
            own = [m.extent for m in subject.modules if m.library is not None]
            kept = ([e for e in es if not any(e.handle in r for r in own)]
                    for es in (found.old, found.new))  # fmt: skip
            old, new = map(tuple, kept)
            return replace(found, old=old, new=new)

    def new_is_in_use(self) -> bool:
        """Whether it has made an object; a library without objects has nothing to tell by."""
        with self._subject() as subject:
            drain = subject.record.drains[0]
            return drain.values or table.contents(subject.memory, drain.table).made > 0

    def ways_into_the_old_copy(self) -> tuple[str, ...]:
        """By name: references of the program that lead there after all."""
        with self._subject() as subject:
            family = subject.record.families[0]
            current = family.copies[family.current].base
            bases = {c.base for c in family.copies}
            old = [m.extent for m in subject.modules if m.base in bases - {current}]
            program = subject.modules[0]
            return tuple(s.name for s in slots(subject.memory, program, old))

    def _subject(self) -> AbstractContextManager[Subject]:
        return Subject.open(Identity.of(self.target.pid), LibraryCache())


def held(name: str, old: Path, new: Path, work: Path) -> Crossing:
    """Begin the drain while objects are half way, let them go on and end, and settle it."""
    library = work / "lib" / soname(old)
    with started(driver(name, old, library, work)) as target:
        if (first := _first(target)) != "ready":
            return Crossing(End.UNUSABLE, first)
        install(new, library)
        return _judged(Scene(target, library), _held)


def loaded(name: str, old: Path, new: Path, work: Path, *, checked: bool = True) -> Crossing:
    """Drain it while two threads go through all of the driver's checks again and again.

    Args:
        name: of the driver.
        old: the build that it begins with.
        new: the other one.
        work: a directory.
        checked: on a heap that notices faults and overwrites what is freed, or on an ordinary one.
    """
    library = work / "lib" / soname(old)
    with started(load(name, old, library, work), checked=checked) as target:
        if (first := _first(target)) != "ready":
            return Crossing(End.UNUSABLE, first)
        install(new, library)
        return _judged(Scene(target, library), _loaded)


def _judged(scene: Scene, cross: Callable[[Scene], Crossing]) -> Crossing:
    try:
        return cross(scene)
    except Wrong as wrong:
        return Crossing(End.WRONG, str(wrong))


def _held(scene: Scene) -> Crossing:
    begun, told = _begun(scene)
    if not begun:
        return Crossing(End.REFUSED, told)
    said = answer(scene.target)
    if said != "done":
        raise Wrong(said)
    known = scene.known()
    if not scene.new_is_in_use():
        return Crossing(End.UNSETTLED, "the new copy made no object")
    if known.old or known.new:
        return Crossing(End.UNSETTLED, f"{len(known.old)} old, {len(known.new)} new left")
    settled, how = _settled(scene, lambda: None)
    if not settled:
        return Crossing(End.UNSETTLED, how)
    _ended(scene.target, "", 2)
    return Crossing(End.CROSSED, how + told)


def _loaded(scene: Scene) -> Crossing:
    target = scene.target
    _rounds(target)
    begun, told = _begun(scene)
    if not begun:
        return Crossing(End.REFUSED, told)
    before = _rounds(target, 0)
    _rounds(target)
    in_use = scene.new_is_in_use()
    settled, how = _settled(scene, lambda: _rounds(target))
    during = _rounds(target, 0)
    after = _rounds(target, _LATER)
    rounds = (before, during - before, after - during)
    if not settled:
        return Crossing(End.UNSETTLED, how, rounds)
    if not in_use:
        return Crossing(End.UNSETTLED, "the new copy made no object", rounds)
    if left := scene.ways_into_the_old_copy():
        return Crossing(End.UNSETTLED, f"{', '.join(left)} lead to the old copy", rounds)
    _ended(target, "done", 0)
    return Crossing(End.CROSSED, how + told, rounds)


def _begun(scene: Scene) -> tuple[bool, str]:
    """Whether the drain began, and what had to be forced or stood in the way."""
    begun, risks = scene.drain(), ""
    if isinstance(begun, Refused):
        found = _stoppers(scene)
        if not found or {f.word for f in found} - _FORCED:
            return False, _listed(found) or f"{begun.error}: {begun.reason}"
        begun, risks = scene.drain(force=True), f" (--force: {_listed(found)})"
    if isinstance(begun, DrainBegun):
        return True, risks
    if scene.target.process.poll() is not None:
        raise Wrong(f"the target ended: {scene.target.process.returncode}")
    return False, str(begun)


def _stoppers(scene: Scene) -> tuple[Finding, ...]:
    """All of what stands in the way."""
    planned = scene.drain(dry_run=True)
    if not isinstance(planned, DrainPlanned):
        return ()
    return planned.outlook.stoppers(force=False)


def _listed(findings: Sequence[Finding]) -> str:
    """By their words; symbols that are gone may be hundreds."""
    words = dict.fromkeys(f.word for f in findings)
    subjects = {w: [f.subject for f in findings if f.word == w and w != "abi"] for w in words}
    return "; ".join(f"{w}: {', '.join(s)}" if s else w for w, s in subjects.items())


def _settled(scene: Scene, meanwhile: Callable[[], object]) -> tuple[bool, str]:
    """Try again and again; by force where no object is known to be left, but some might be."""
    told = ""
    for attempt in range(1, _ATTEMPTS + 1):
        outcome = scene.settle()
        if isinstance(outcome, Settled):
            return True, "settled by itself"
        if not isinstance(outcome, StillDraining):
            return False, str(outcome)
        told = _told(outcome)
        lasting = all(_WORDS not in doubt for doubt in outcome.left.doubts)
        if not outcome.left.seen + outcome.left.found and (lasting or attempt > _PATIENT):
            outcome = scene.settle(force=True)
            if isinstance(outcome, Settled):
                return True, f"settled by force: {told}"
        meanwhile()
    return False, told


def _told(still: StillDraining) -> str:
    left = still.left
    known = [f"{left.seen} seen, {left.found} found"] if left.seen + left.found else []
    return "; ".join([*known, *filter(None, [still.reason]), *map(_without_address, left.doubts)])


def _without_address(doubt: str) -> str:
    return re.sub(r", the first at 0x[0-9a-f]+", "", doubt)


def _first(target: Target) -> str:
    """What it says at first."""
    try:
        return target.line()
    except AssertionError as error:
        return " ".join(str(error).split())[:100]


def _rounds(target: Target, more: int = _SOME) -> int:
    """How many rounds there were when each worker has gone through so many more.

    Raises:
        Wrong: a worker says so, or the process has ended.
    """
    try:
        said = target.ask(str(more))
    except (AssertionError, OSError) as error:
        raise Wrong(" ".join(str(error).split())[:100]) from None
    if not said.isdigit():
        raise Wrong(said)
    return int(said)


def _ended(target: Target, said: str, status: int) -> None:
    """Let it end by itself.

    Raises:
        Wrong: it ends in another way.
    """
    assert target.process.stdin is not None
    target.process.stdin.close()
    end = target.ended()
    if end != (status, f"{said}\n" if said else ""):
        raise Wrong(f"it ended with {end[0]}, saying {end[1]!r}")
