"""Carry out a change of patches in one process, or bring one that was broken off to its end."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from libswap.errors.base import LibswapError
from libswap.live import recovery
from libswap.live import switch as live
from libswap.live.outlook import Options
from libswap.live.quiescence import Forbidden
from libswap.live.registry import Place
from libswap.live.static_program import again
from libswap.live.subject import Subject
from libswap.live.switch import Switch
from libswap.live.transaction import commit
from libswap.live.writing import Phase, Prepared, Write

_WORD: Final = 4
_SETTLE_WAIT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Switched:
    """It was done.

    Attributes:
        stopped_for: seconds that the process stood still, both commits together.
        at_once: whether a kill at any moment would have left all or nothing.
    """

    stopped_for: float
    attempts: int
    threads: int
    at_once: bool


def switched(
    subject: Subject, place: Place, wanted: Switch, forbidden: Sequence[Forbidden], wait: float
) -> Switched:
    """Move the entries.

    Raises:
        CommitBlocked: there was no safe moment; the process is as it was.
        CommitConflict: an entry was changed meanwhile; likewise.
        ProcessGone: it ended.
    """
    gates = _gates(subject, wanted)
    nobody_in = (*forbidden, *live.gate_area(wanted.record))
    before = place.record
    begun, begin = place.writes(replace(before, switch=wanted.record))
    after = replace(before, switch=None, patches=wanted.record.done)
    second = wanted.second()
    _, abandon = begun.writes(replace(before, switch=None))
    # Behind the first commit the patches are in force, settled or not.
    standing, done = begun.writes(replace(after, switch=wanted.record) if second else after)
    first = Prepared((*gates, *wanted.first()), nobody_in, (begin,), (done,), (abandon,))
    found = commit(subject.identity, subject.memory, first, wait=wait)
    seconds = found.stopped_for
    if second:
        # What is not settled now is by the next libswap: only the speed of a call depends on it.
        with suppress(LibswapError):
            _, done = standing.writes(after)
            seconds += _settle(subject, Prepared(second, (), (), (done,)))
    at_once = bool(wanted.record.word) or len(wanted.record.changes) == 1
    return Switched(seconds, found.attempts, found.threads, at_once)


def _settle(subject: Subject, prepared: Prepared) -> float:
    return commit(subject.identity, subject.memory, prepared, wait=_SETTLE_WAIT).stopped_for


def _gates(subject: Subject, wanted: Switch) -> tuple[Phase, ...]:
    """The phase that makes the gates, where they are not there from an earlier switch.

    The deciding word is cleared at once: an earlier switch left it set, and a libswap that is
    killed now would be taken for one that had come that far. Who is in such a gate since then
    goes where the function led before, as does everybody else.
    """
    area, contents, memory = wanted.record.area, wanted.contents, subject.memory
    if not contents:
        return ()
    memory.write(area, contents[:_WORD])
    now = memory.read(area, len(contents))
    return () if now == contents else ((Write(area, now, contents),),)


def finish(subject: Subject, wait: float) -> Subject:
    """Finish or take back what a libswap that was killed had begun in this process.

    Raises:
        CommitBlocked: there was no safe moment.
    """
    if subject.place is not None and subject.place.record.pending:
        subject = recovery.finish(subject, Options(wait=wait))
    place = subject.place
    if place is None or place.record.switch is None:
        return subject
    record = place.record.switch
    phases, forward = live.unfinished(subject.memory, record)
    patches = record.done if forward else place.record.patches
    _, done = place.writes(replace(place.record, switch=None, patches=patches))
    forbidden = () if forward else live.gate_area(record)
    commit(subject.identity, subject.memory, Prepared(phases, forbidden, (), (done,)), wait=wait)
    return again(subject)
