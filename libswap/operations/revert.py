"""Take swaps back, each process to the copy of the library that it used before."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.handles import NotDrained
from libswap.errors.live import NotAllMoved, NothingSwapped
from libswap.errors.process import ProcessGone
from libswap.linux.rooted import Root
from libswap.linux.tracer import traced
from libswap.live.draining.record import DrainRecord
from libswap.live.exclusive import exclusively
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options, look
from libswap.live.recovery import finish
from libswap.live.registry import Event, Record
from libswap.live.subject import Subject
from libswap.operations import draining
from libswap.operations.affected import way_back
from libswap.operations.draining import StillDraining
from libswap.operations.moves import (
    Moved,
    Outcome,
    Planned,
    ProcessResult,
    Refused,
    Skipped,
    as_refused,
    process_name,
)
from libswap.operations.survival.nameless import finder
from libswap.operations.swap import move_back, moved, while_it_changes
from libswap.process.ending import while_it_lives
from libswap.process.identity import Identity, require_there

_DONE: Final = ("switched", "done")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of each process."""

    processes: tuple[ProcessResult, ...]

    @property
    def exit_code(self) -> int:
        """0 where everything was taken back."""
        codes = {p.outcome.exit_code for p in self.processes if isinstance(p.outcome, Refused)}
        if any(isinstance(p.outcome, StillDraining) for p in self.processes):
            codes.add(NotDrained.exit_code)
        done = any(isinstance(p.outcome, Moved) for p in self.processes)
        if not codes:
            return 0
        return codes.pop() if len(codes) == 1 and not done else NotAllMoved.exit_code


def revert(
    pids: Sequence[int], id_: str, options: Options, *, dry_run: bool = False,
    state_dir: Path | None = None,
) -> Report:  # fmt: skip
    """Take back the last swap of each process, or the one that is named.

    Args:
        pids: the processes.
        id_: of the swap; "" for the last one.
        options: how.
        dry_run: make the plans and change nothing.
        state_dir: where results of reading code are kept; None for nowhere.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    with Root.open("/") as here:
        cache = LibraryCache((here,), finder(state_dir))
        one = partial(_one, id_=id_, options=options, cache=cache, dry_run=dry_run)
        return Report(tuple(result for pid in pids for result in traced(partial(one, pid))))


def _one(
    pid: int, *, id_: str, options: Options, cache: LibraryCache, dry_run: bool
) -> list[ProcessResult]:
    name, paths = process_name(pid), [""]
    try:
        identity = Identity.of(pid)
        alone = nullcontext() if dry_run else exclusively(pid, time.monotonic() + options.wait)
        with while_it_lives(identity), alone, Subject.open(identity, cache) as found:
            subject = found if dry_run else draining.finish(finish(found, options), options)
            drain = _drain(subject.record, id_)
            if drain is not None:
                back = draining.go_back(subject, drain, options, dry_run=dry_run)
                return [ProcessResult(pid, name, draining.library_of(subject, drain), back)]
            events = last_swap(subject.record, pid, id_)
            paths = [event.library for event in events]
            outcomes = _outcomes(subject, events[0].id, options, dry_run=dry_run)
            return [ProcessResult(pid, name, p, o) for p, o in zip(paths, outcomes, strict=True)]
    except ProcessGone as error:
        return [ProcessResult(pid, name, path, Skipped(error.message)) for path in paths]
    except LibswapError as error:
        return [ProcessResult(pid, name, path, as_refused(error)) for path in paths]


def _outcomes(subject: Subject, id_: str, options: Options, *, dry_run: bool) -> list[Outcome]:
    moves = way_back(subject, id_)
    if dry_run:
        return [Planned(look(subject, m.source, m.library, options).outlook) for m in moves]
    done = while_it_changes(subject, lambda now: move_back(now, id_, options))
    return [moved(done, move.source) for move in moves]


def _drain(record: Record, id_: str) -> DrainRecord | None:
    """The drain that is meant: by its id, or the last if nothing was done after it."""
    newest = id_ or next((e.id for e in reversed(record.events) if e.state != "abandoned"), "")
    return next((d for d in record.drains if d.event == newest), None)


def last_swap(record: Record, pid: int, id_: str = "") -> tuple[Event, ...]:
    """The swap to take back, library by library: still in force, the one that is named or the last.

    Raises:
        NothingSwapped: there is none, or a later swap of one of its libraries stands on it.
    """
    done = [e for e in record.events if e.state in _DONE]
    undone = {e.what.removeprefix("revert ") for e in done if e.what.startswith("revert ")}
    in_use = {f.copies[f.current].base for f in record.families}
    standing = [e for e in done if e.what == "swap" and e.id not in undone]
    for event in reversed(standing):
        whole = tuple(e for e in standing if e.id == event.id)
        if id_ in ("", event.id) and all(e.new_base in in_use for e in whole):
            return whole
    raise NothingSwapped(pid, f"swap {id_}" if id_ else "swapped library")
