"""The commit: every thread stands still while prepared bytes are written, or nothing is.

A function patch, a library swap and the undoing of either are all a `Prepared`. What holds if we
are killed: before the first write of a phase nothing has changed but the record, which says
"begun"; afterwards some prefix of the writes has happened, which by their order runs correctly, and
the record in the target tells the next run what to finish or to take back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, NoReturn, TypeAlias

from libswap.errors.live import CommitBlocked, CommitConflict, CommitUndoFailed
from libswap.errors.process import MemoryUnreachable, ProcessGone, ThreadUnstoppable
from libswap.linux.memory import Memory, ProcessMemory, Range
from libswap.linux.scheduling import promptly, without_collection
from libswap.live.quiescence import Blocker, Forbidden, Watch
from libswap.live.thread import maps_through, states
from libswap.live.tracee import Tracee
from libswap.process.identity import Identity

_GAP: Final = 256
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05
_TO_STOP_ALL: Final = 0.25
_LONGEST_TO_STOP_ALL: Final = 2.0
_MERE_ATTEMPTS: Final = 2
_MOMENTS: Final = (0.0001, 0.0002, 0.0004, 0.0008)
"""Seconds that those in the way go on alone, where that many attempts met somebody."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes to be replaced.

    Attributes:
        address: where.
        old: what must be there at the moment of the commit.
        new: what is there afterwards, as long as `old`.
    """

    address: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """State to be carried over as it is at the moment of the commit.

    Attributes:
        source: address of the object in the old library.
        destination: address of the object in the new one.
        size: of both, in bytes.
        translate: makes the new bytes of the old ones; runs while the target stands still.
    """

    source: int
    destination: int
    size: int
    translate: Callable[[bytes], bytes] | None = None


Phase: TypeAlias = tuple[Write | Copy, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a commit does, computed beforehand.

    Attributes:
        phases: what to write, in this order; inside of a phase the order is free.
        forbidden: code that no thread may be inside of meanwhile.
        begun: written before the target is first stopped, so that the next run can undo.
        done: written last, after everything was read back.
        abandoned: written where the commit did not happen.
    """

    phases: tuple[Phase, ...]
    forbidden: tuple[Forbidden, ...] = ()
    begun: tuple[Write, ...] = ()
    done: tuple[Write, ...] = ()
    abandoned: tuple[Write, ...] = ()


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
    writing = _Writing(identity.pid, memory, prepared)
    _write_all(memory, prepared.begun)
    try:
        return _await_moment(identity, memory, writing, time.monotonic() + wait)
    except BaseException:
        if not writing.standing:
            with suppress(ProcessGone):
                _write_all(memory, prepared.abandoned)
        raise


@dataclass(frozen=True, slots=True)
class _Run:
    """Writes that lie close together, done as one.

    Attributes:
        area: from the first to the last of them.
        expected: what lay there when it was prepared, the bytes in between included.
        new: what is written if it still does.
        writes: the single ones, for where the bytes in between have changed.
    """

    area: Range
    expected: bytes
    new: bytes
    writes: tuple[Write, ...]


def _runs(memory: Memory, phase: Phase) -> tuple[_Run | Copy, ...]:
    writes = sorted((w for w in phase if isinstance(w, Write)), key=lambda w: w.address)
    groups: list[list[Write]] = []
    for write in writes:
        if groups and write.address - groups[-1][-1].address <= _GAP:
            groups[-1].append(write)
        else:
            groups.append([write])
    return (*(c for c in phase if isinstance(c, Copy)), *(_run(memory, g) for g in groups))


def _run(memory: Memory, writes: list[Write]) -> _Run:
    area = Range(writes[0].address, writes[-1].address + len(writes[-1].old))
    before = memory.read(area.start, area.size)
    old, new = (_overlaid(area, before, writes, which) for which in ("old", "new"))
    return _Run(area, old, new, tuple(writes))


def _overlaid(area: Range, content: bytes, writes: Sequence[Write], which: str) -> bytes:
    data = bytearray(content)
    reached = area.start
    for write in writes:
        part: bytes = getattr(write, which)
        if write.address < reached or len(part) != len(write.old):
            raise AssertionError(f"writes of one phase overlap at {write.address:#x}")
        at = write.address - area.start
        data[at : at + len(part)] = part
        reached = write.address + len(part)
    return bytes(data)


# The wait for a safe moment


@dataclass(frozen=True, slots=True)
class _NotNow:
    """What stood in the way this time."""

    reason: Sequence[Blocker] | ThreadUnstoppable


def _await_moment(
    identity: Identity, memory: ProcessMemory, writing: "_Writing", deadline: float
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
    writing: "_Writing",
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
                    maps = maps_through(identity.pid)
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
        blockers = watch.blockers(moved, maps_through(tracee.identity.pid))
        if not blockers:
            break
    return blockers


# The writing


class _Writing:
    """The writes of one commit, and whether the target carries them.

    Attributes:
        standing: whether any of them is in the target now.
    """

    def __init__(self, pid: int, memory: ProcessMemory, prepared: Prepared) -> None:
        """Put together what lies close together; nothing is written yet."""
        self.prepared: Final = prepared
        self.standing = False
        self._pid: Final = pid
        self._memory: Final = memory
        self._runs: Final = [_runs(memory, phase) for phase in prepared.phases]

    def look(self) -> None:
        """Check what can be checked before anybody stands still; what is read here is at hand then.

        Raises:
            CommitConflict: bytes are not what they should be.
        """
        _checked(self._memory, self._pid, [
            tuple(one for one in phase if isinstance(one, _Run)) for phase in self._runs
        ])  # fmt: skip

    def apply(self) -> None:
        """Check everything, then write everything; on any fault put back what was written."""
        phases = _checked(self._memory, self._pid, self._runs)
        written: list[Write] = []
        self.standing = True
        try:
            for phase in phases:
                for write in phase:
                    written.append(write)
                    self._memory.write(write.address, write.new)
                _verify(self._memory, self._pid, phase)
            _write_all(self._memory, self.prepared.done)
        except BaseException as error:
            _take_back(self._memory, self._pid, written, error)
            self.standing = False
            raise


def _checked(
    memory: ProcessMemory, pid: int, runs: list[tuple[_Run | Copy, ...]]
) -> list[list[Write]]:
    contents = iter(memory.read_many([r for phase in runs for one in phase for r in _areas(one)]))
    return [[_write_of(pid, one, contents) for one in phase] for phase in runs]


def _areas(one: _Run | Copy) -> tuple[Range, ...]:
    if isinstance(one, _Run):
        return (one.area,)
    return (
        Range(one.source, one.source + one.size),
        Range(one.destination, one.destination + one.size),
    )


def _write_of(pid: int, one: _Run | Copy, contents: Iterator[bytes]) -> Write:
    content = next(contents)
    if isinstance(one, Copy):
        data = one.translate(content) if one.translate else content
        return Write(one.destination, next(contents), data)
    if content == one.expected:
        return Write(one.area.start, content, one.new)
    for write in one.writes:
        at = write.address - one.area.start
        found = content[at : at + len(write.old)]
        if found != write.old:
            raise CommitConflict(pid, write.address, write.old, found)
    return Write(one.area.start, content, _overlaid(one.area, content, one.writes, "new"))


def _verify(memory: ProcessMemory, pid: int, writes: Sequence[Write]) -> None:
    areas = [Range(w.address, w.address + len(w.new)) for w in writes]
    for write, found in zip(writes, memory.read_many(areas), strict=True):
        if found != write.new:
            raise CommitConflict(pid, write.address, write.new, found)


def _take_back(
    memory: ProcessMemory, pid: int, written: Sequence[Write], error: BaseException
) -> None:
    try:
        for write in reversed(written):
            memory.write(write.address, write.old)
    except MemoryUnreachable as second:
        raise CommitUndoFailed(pid, second.address) from error


def _write_all(memory: ProcessMemory, writes: Sequence[Write]) -> None:
    for write in writes:
        memory.write(write.address, write.new)
