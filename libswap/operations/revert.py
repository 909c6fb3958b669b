"""Take swaps back, each process to the copy of the library that it used before."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import NotAllMoved, NothingSwapped
from libswap.errors.process import ProcessGone
from libswap.linux.rooted import Root
from libswap.linux.tracer import traced
from libswap.live import swap as live
from libswap.live.exclusive import exclusively
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options, look
from libswap.live.registry import Event, Record
from libswap.live.subject import Subject
from libswap.operations.affected import both_copies
from libswap.operations.moves import (
    Moved,
    Planned,
    ProcessResult,
    Refused,
    Skipped,
    as_refused,
    process_name,
)
from libswap.operations.swap import move_back, while_it_changes
from libswap.process.identity import Identity

_DONE: Final = ("switched", "done")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of each process."""

    processes: tuple[ProcessResult, ...]

    @property
    def exit_code(self) -> int:
        """0 where everything was taken back."""
        codes = {p.outcome.exit_code for p in self.processes if isinstance(p.outcome, Refused)}
        done = any(isinstance(p.outcome, Moved) for p in self.processes)
        if not codes:
            return 0
        return codes.pop() if len(codes) == 1 and not done else NotAllMoved.exit_code


def revert(pids: Sequence[int], id_: str, options: Options, *, dry_run: bool = False) -> Report:
    """Take back the last swap of each process, or the one that is named."""
    with Root.open("/") as here:
        cache = LibraryCache((here,))
        one = partial(_one, id_=id_, options=options, cache=cache, dry_run=dry_run)
        return Report(tuple(traced(partial(one, pid)) for pid in pids))


def _one(
    pid: int, *, id_: str, options: Options, cache: LibraryCache, dry_run: bool
) -> ProcessResult:
    name, library = process_name(pid), ""
    try:
        identity = Identity.of(pid)
        alone = nullcontext() if dry_run else exclusively(pid, time.monotonic() + options.wait)
        with alone, Subject.open(identity, cache) as found:
            subject = found if dry_run else live.finish(found, options)
            event = last_swap(subject.place.record if subject.place else Record(), pid, id_)
            library = event.library
            if dry_run:
                source, target = both_copies(subject, event)
                plan = look(subject, source, target.facts, options).outlook
                return ProcessResult(pid, name, library, Planned(plan))
            done = while_it_changes(subject, lambda now: move_back(now, event.id, options))
            moved = Moved(done.id, done.stopped_for, done.attempts, done.threads, done.outlook)
            return ProcessResult(pid, name, library, moved)
    except ProcessGone as error:
        return ProcessResult(pid, name, library, Skipped(error.message))
    except LibswapError as error:
        return ProcessResult(pid, name, library, as_refused(error))


def last_swap(record: Record, pid: int, id_: str = "") -> Event:
    """The swap to take back: still in force, the one that is named or the last.

    Raises:
        NothingSwapped: there is none, or a later swap of that library stands on it.
    """
    done = [e for e in record.events if e.state in _DONE]
    undone = {e.what.removeprefix("revert ") for e in done if e.what.startswith("revert ")}
    in_use = {f.copies[f.current].base for f in record.families}
    standing = [e for e in done if e.what == "swap" and e.id not in undone]
    for event in reversed(standing):
        if id_ in ("", event.id) and event.new_base in in_use:
            return event
    raise NothingSwapped(pid, f"swap {id_}" if id_ else "swapped library")
