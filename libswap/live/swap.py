"""Move one process from the copies of libraries in use to others, all of them in one commit."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import CommitConflict, CommitUndoFailed, NotSwappable
from libswap.live import gate, preparation
from libswap.live.copies import same
from libswap.live.loading import load, unload
from libswap.live.move import Move, in_order
from libswap.live.outlook import Options, Outlook, look, require_clear
from libswap.live.preparation import Preparation, Records
from libswap.live.refusal import require_fit
from libswap.live.runtime import runtime_of
from libswap.live.spelling import is_spelled
from libswap.live.subject import Subject
from libswap.live.transaction import Committed, commit
from libswap.live.wanting import request_for
from libswap.live.writing import Prepared

SETTLE_WAIT: Final = 2.0
"""Seconds."""

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
        outlooks: what was planned, by the load base of the copy that was in use.
    """

    id: str
    stopped_for: float
    attempts: int
    threads: int
    outlooks: dict[int, Outlook]


def swap(
    subject: Subject,
    moves: Sequence[Move],
    options: Options,
    *,
    what: str = "swap",
    progress: Progress = lambda _: None,
) -> Swapped:
    """Move a process.

    Args:
        subject: the process.
        moves: the libraries, of one namespace; all of them are moved, or none.
        options: what the user chose.
        what: "swap" or "revert ID", for the record.
        progress: told of each step.

    Raises:
        NotSwappable: something stands in the way; nothing was changed.
        LoadFailed: the process cannot load one of them.
        CommitBlocked: there was no safe moment; the process is as it was.
        ProcessGone: it ended.
    """
    require_fit(subject.identity)
    progress("look")
    moves = in_order(moves)
    works = tuple(look(subject, m.source, m.library, options) for m in moves)
    require_clear(works)
    runtime = runtime_of(subject.modules)
    for move in moves:
        _require_alone(subject, move)
    request, rooms = request_for(subject, moves, works)
    progress("load")
    there = load(
        subject.identity, subject.memory, runtime, subject.mappings, request,
        wait=options.wait, timeout=options.constructors,
    )  # fmt: skip
    try:
        progress("prepare")
        prepared = Preparation.of(subject, works, there, rooms(there.area))
        return _Commits(prepared, options, progress).both(what)
    except LibswapError as error:
        if not isinstance(error, CommitUndoFailed):
            unload(subject.identity, subject.memory, runtime, request, there, wait=options.wait)
        raise


def _require_alone(subject: Subject, move: Move) -> None:
    """The program may have loaded the new file itself, and use it with a state of its own."""
    source = move.source
    for module in subject.modules if move.loaded is None else ():
        beside = module.link.namespace == source.link.namespace and module.base != source.base
        # One that a killed libswap had loaded, and nobody uses, has a spelling of ours.
        if (
            beside
            and not is_spelled(module.link.name)
            and module.library is not None
            and same(module.facts, move.library)
        ):
            raise NotSwappable(
                "loaded-twice",
                f"the program has loaded {module.path} beside {source.path}, each with its state",
                "restart the process",
            )


@dataclass(frozen=True, slots=True)
class _Commits:
    """Both commits of a swap."""

    prepared: Preparation
    options: Options
    progress: Progress

    def both(self, what: str) -> Swapped:
        prepared, memory = self.prepared, self.prepared.subject.memory
        exchanges = prepared.exchanges()
        prepared.require_clear()
        flat = [e for own in exchanges for e in own]
        records = prepared.records(what, exchanges)
        first = prepared.switching(flat, records)
        for write in prepared.before():
            memory.write(write.address, write.new)
        self.progress("switch")
        done = self._switch(first)
        self.progress("settle")
        seconds = done.stopped_for
        # What was not settled stays for the next time: only the speed of a call depends on it.
        with suppress(LibswapError):
            seconds += settle(prepared, records).stopped_for
        outlooks = {m.source.base: m.work.outlook for m in prepared.members}
        return Swapped(prepared.id, seconds, done.attempts, done.threads, outlooks)

    def _switch(self, first: Prepared) -> Committed:
        """The first commit. Once the gates are turned it is done, whatever went wrong then."""
        subject = self.prepared.subject
        try:
            return commit(subject.identity, subject.memory, first, wait=self.options.wait)
        except BaseException as error:
            if not self._turned():
                if isinstance(error, CommitConflict):
                    self._look_again()
                raise
            for write in first.done:
                subject.memory.write(write.address, write.new)
            if not isinstance(error, LibswapError):
                raise
            return Committed(0.0, 1, 0)

    def _look_again(self) -> None:
        """Say what stands in the way now, where the program went on since the plan was made.

        Raises:
            NotSwappable: something does.
        """
        subject = self.prepared.subject.again()
        require_clear([
            look(subject, m.source, m.work.library, self.options) for m in self.prepared.members
        ])  # fmt: skip

    def _turned(self) -> bool:
        try:
            memory, word = self.prepared.subject.memory, self.prepared.members[0].area.word
            return any(memory.read(word, gate.WORD))
        except LibswapError:
            return False


def settle(prepared: Preparation, records: Records) -> Committed:
    """The second commit.

    Raises:
        LibswapError: it could not be made now.
    """
    subject = prepared.subject
    events = [e for e in records.switched.record.events if e.id == prepared.id]
    record = preparation.with_events(records.switched.record, events, "done")
    _, done = records.switched.writes(record)
    return commit(
        subject.identity, subject.memory, Prepared(prepared.settling(), done=(done,)),
        wait=SETTLE_WAIT,
    )  # fmt: skip
