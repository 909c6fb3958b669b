"""The commit: every thread stands still while prepared bytes are written, or nothing is.

A function patch, a library swap and the undoing of either are all a `Prepared`. What holds if we
are killed: before the first write of a phase nothing has changed but the record, which says
"begun"; afterwards some prefix of the writes has happened, which by their order runs correctly, and
the record in the target tells the next run what to finish or to take back.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, NoReturn

from libswap.errors.live import CommitBlocked
from libswap.errors.process import ProcessGone, ThreadUnstoppable
from libswap.linux.memory import ProcessMemory
from libswap.linux.scheduling import promptly, without_collection
from libswap.linux.tracer import heed, unbroken
from libswap.live.quiescence import Blocker, Watch
from libswap.live.thread import maps_through, states
from libswap.live.tracee import Tracee
from libswap.live.writing import Prepared, Writing, write_all
from libswap.process.identity import Identity

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_TO_STOP_ALL: Final = 0.25
_LONGEST_TO_STOP_ALL: Final = 2.0
_MERE_ATTEMPTS: Final = 2
_MOMENTS: Final = (0.0001, 0.0002, 0.0004, 0.0008)
"""Seconds that those in the way go on alone, where that many attempts met somebody."""


@dataclass(frozen=True, slots=True)
class Committed:
    """It is done, and was read back.

    Attributes:
        stopped_for: seconds from the first thread's stop to the last one's going on, as we saw it.
        attempts: how often the target was stopped, the last time included.
        threads: how many stood still.
    """

    stopped_for: float
    attempts: int
    threads: int


def commit(
    identity: Identity, memory: ProcessMemory, prepared: Prepared, *, wait: float
) -> Committed:
    """Stop every thread at a moment when it is safe, apply the writes, let all go.

    Args:
        identity: the process.
        memory: its memory.
        prepared: what to do.
        wait: seconds to wait for a safe moment.

    Raises:
        CommitBlocked: there was no safe moment; nothing was written.
        CommitConflict: bytes are not what they should be; nothing was written.
        ThreadUnstoppable: a thread never came to a stop; nothing was written.
        ProcessGone: it ended.
        ProcessReplaced: it executed another program.
    """
    writing = Writing(identity.pid, memory, prepared)
    with unbroken():
        write_all(memory, prepared.begun)
        try:
            return _await_moment(identity, memory, writing, time.monotonic() + wait)
        except BaseException:
            if not writing.standing:
                with suppress(ProcessGone):
                    write_all(memory, prepared.abandoned)
            raise


@dataclass(frozen=True, slots=True)
class _NotNow:
    """What stood in the way this time."""

    reason: Sequence[Blocker] | ThreadUnstoppable


def _await_moment(
    identity: Identity, memory: ProcessMemory, writing: Writing, deadline: float
) -> Committed:
    watch = Watch(writing.prepared.forbidden, memory)
    began = time.monotonic()
    pause, patience = _FIRST_PAUSE, _TO_STOP_ALL
    for attempt in count(1):
        with promptly():
            moments = _MOMENTS if attempt > _MERE_ATTEMPTS else ()
            outcome = _attempt(identity, watch, writing, patience, moments)
        if isinstance(outcome, Committed):
            return replace(outcome, attempts=attempt)
        if time.monotonic() >= deadline:
            _give_up(identity, outcome, time.monotonic() - began)
        if isinstance(outcome.reason, ThreadUnstoppable):
            # Each must have its turn on a processor first, and on a busy machine that takes long.
            patience = min(2 * patience, _LONGEST_TO_STOP_ALL)
        heed()  # nobody is held here
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_PAUSE)
    raise AssertionError("unreachable")


def _give_up(identity: Identity, outcome: _NotNow, seconds: float) -> NoReturn:
    if isinstance(outcome.reason, ThreadUnstoppable):
        raise outcome.reason
    why = tuple(dict.fromkeys(map(str, outcome.reason)))
    raise CommitBlocked(identity.pid, seconds, why)


def _attempt(
    identity: Identity,
    watch: Watch,
    writing: Writing,
    patience: float,
    moments: Sequence[float],
) -> Committed | _NotNow:
    known = states(identity.pid)
    maps = maps_through(identity.pid)
    stuck = [tid for tid, letter in known.items() if letter == "D"]
    if stuck:
        return _NotNow(ThreadUnstoppable(identity.pid, stuck[0], "D"))
    writing.look()
    asleep = {tid for tid, letter in known.items() if letter == "S"}
    with without_collection(), Tracee.seize(identity) as tracee:
        began = time.perf_counter()
        deadline = time.monotonic() + patience
        seen: set[int] = set()
        try:
            # Who waits does not notice how long the others take; who runs is stopped last.
            for tids in (asleep, None):
                tracee.stop(deadline, tids)
                if not tracee.threads.keys() <= known.keys():
                    maps = tracee.maps()
                stopped = [t for t in tracee.threads.values() if t.stopped and t.tid not in seen]
                seen |= {t.tid for t in stopped}
                blockers = watch.blockers(stopped, maps)
                if blockers and tids is None:
                    blockers = _let_out(tracee, watch, blockers, moments, deadline)
                if blockers:
                    return _NotNow(blockers)
        except ThreadUnstoppable as error:
            return _NotNow(error)
        count = len(tracee.threads)
        writing.apply()
        # The commit stands. A thread that cannot be let go now is when we end.
        with suppress(ThreadUnstoppable):
            tracee.detach()
    return Committed(time.perf_counter() - began, 1, count)


def _let_out(
    tracee: Tracee,
    watch: Watch,
    blockers: list[Blocker],
    moments: Sequence[float],
    deadline: float,
) -> list[Blocker]:
    """Let those in the way go on alone for some moments: a short function is soon left.

    Of many threads that call one all the time, some are inside of it whenever all are stopped.

    Returns:
        Who is still in the way; all stand still again.
    """
    for moment in moments:
        moved = tracee.let_on([b.tid for b in blockers], moment, deadline)
        blockers = watch.blockers(moved, tracee.maps())
        if not blockers:
            break
    return blockers
