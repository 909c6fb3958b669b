"""Move the processes that use a library onto the file that its name leads to now."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from libswap.errors.base import LibswapError
from libswap.errors.process import MemoryUnreachable, ProcessGone
from libswap.linux.command import run
from libswap.linux.files import refusal
from libswap.linux.rooted import Root
from libswap.linux.scheduling import without_collection
from libswap.linux.tracer import traced
from libswap.live import swap as live
from libswap.live.copies import path_of
from libswap.live.exclusive import exclusively
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.recovery import finish
from libswap.live.subject import Subject
from libswap.live.unloading import unload_unused
from libswap.operations import draining, outside
from libswap.operations.affected import affected, way_back
from libswap.operations.draining import DrainBegun
from libswap.operations.group import Aim, Group, Part, Progress, Request, moved
from libswap.operations.moves import (
    Asked,
    Moved,
    MovedBack,
    Outcome,
    ProcessResult,
    Report,
    Skipped,
    StillMoved,
    as_refused,
    counted,
    process_name,
    why_not_content,
)
from libswap.operations.survival.nameless import finder
from libswap.process.ending import while_it_lives
from libswap.process.identity import Identity
from libswap.scan.usage import users_of
from libswap.survival.sources import read_once

__all__ = ["Progress", "Request", "move_back", "moved", "swap_library", "while_it_changes"]

T = TypeVar("T")

_MOST_ROUNDS: Final = 50
_MOST_LOOKS: Final = 20
_CHECK_SECONDS: Final = 60.0


def swap_library(request: Request, progress: Progress = lambda *_: None) -> Report:
    """Move processes, parents before children, until a scan finds none that is left.

    Raises:
        InvalidElf: the new file is no library.
        SystemRefused: it cannot be opened.
    """
    with Root.open("/") as here, read_once():
        cache = LibraryCache((here,), finder(request.state_dir))
        aims = []
        for library, new in ((request.library, request.new), *request.more):
            file = Path(os.path.realpath(new or library))
            with refusal("read", str(file)):
                aims.append(Aim(library, file, cache.open(str(file))))
        run_ = _Run(request, aims, cache, progress)
        results = run_.all()
        if not request.dry_run:
            outside.forget_ended(request.state_dir)
        asked = (Asked(str(a.library), str(a.file), a.new.build_id) for a in aims)
        return Report(tuple(asked), tuple(results), run_.uninspected)


@dataclass(slots=True)
class _Run:
    request: Request
    aims: Sequence[Aim]
    cache: LibraryCache
    progress: Progress
    uninspected: int = 0

    def all(self) -> list[ProcessResult]:
        results: list[ProcessResult] = []
        seen: set[Identity] = set()
        for _ in range(_MOST_ROUNDS):
            before = counted(results, Moved)
            for identity in [i for i in self._users() if i not in seen]:
                seen.add(identity)
                results += self._one(identity)
                if self.request.stop_when_checked and why_not_content(results):
                    return results
            # When nobody was left to move, newcomers have the new library from their parents.
            if self.request.pids or counted(results, Moved) == before:
                break
        return results

    def _users(self) -> list[Identity]:
        """Parents before children: whoever started earlier."""
        if self.request.pids:
            return [Identity.of(pid) for pid in self.request.pids]
        usage = users_of([str(aim.library) for aim in self.aims])
        self.uninspected = len(usage.uninspected)
        found = [user.process.identity for user in usage.users]
        return sorted(
            (i for i in found if i.pid != os.getpid()), key=lambda i: (i.start_time, i.pid)
        )

    def _one(self, identity: Identity) -> list[ProcessResult]:
        return traced(lambda: list(self._results_of(identity)))

    def _results_of(self, identity: Identity) -> Iterator[ProcessResult]:
        name = process_name(identity.pid)
        try:
            with (
                while_it_lives(identity),
                self._alone(identity),
                Subject.open(identity, self.cache) as found,
            ):
                yield from self._libraries(self._ready(found), name)
        except ProcessGone as error:
            skipped = Skipped(error.message)
            yield ProcessResult(identity.pid, name, str(self.request.library), skipped)
        except LibswapError as error:
            yield ProcessResult(identity.pid, name, str(self.request.library), as_refused(error))

    def _alone(self, identity: Identity) -> AbstractContextManager[None]:
        if self.request.dry_run:
            return nullcontext()
        return exclusively(identity.pid, time.monotonic() + self.request.options.wait)

    def _ready(self, subject: Subject) -> Subject:
        """What an earlier libswap left unfinished comes first."""
        if self.request.dry_run:
            return subject
        options = self.request.options
        subject = draining.finish(finish(subject, options), options)
        return draining.settle_quietly(subject, options)

    def _libraries(self, subject: Subject, name: str) -> Iterator[ProcessResult]:
        pid = subject.identity.pid
        found = [row for group in self._groups(subject) for row in self._outcomes(subject, group)]
        if not found:
            found = [(str(self.request.library), Skipped("it does not use the old library"))]
        results = [
            ProcessResult(pid, name, path, outcome)
            for path, outcome in self._checked(subject, found)
        ]
        if self.request.unload and not self.request.dry_run:
            copies = tuple(unload_unused(subject.again(), wait=self.request.options.wait))
            outside.keep(self.request.state_dir, subject.again())
            results[-1] = replace(results[-1], copies=copies)
        yield from results

    def _groups(self, subject: Subject) -> Iterator[list[Part]]:
        """What is moved in one commit: the libraries in one namespace."""
        parts = {
            source.base: Part(source, aim)
            for aim in self.aims
            for source in affected(subject, aim.library, aim.new)
        }
        for namespace in sorted({p.source.link.namespace for p in parts.values()}):
            yield [p for p in parts.values() if p.source.link.namespace == namespace]

    def _checked(
        self, subject: Subject, found: list[tuple[str, Outcome]]
    ) -> list[tuple[str, Outcome]]:
        """What was found, after the user's check: where it fails, all moves are taken back."""
        ids = {o.id: None for _, o in found if isinstance(o, Moved | DrainBegun)}
        failure = self._complaint(subject.identity.pid) if ids and self.request.check else ""
        if not failure:
            return found
        back = {id_: self._back(subject, id_, failure) for id_ in reversed(ids)}
        return [(path, back[o.id] if isinstance(o, Moved | DrainBegun) else o) for path, o in found]

    def _back(self, subject: Subject, id_: str, failure: str) -> Outcome:
        try:
            subject = subject.again()
            drain = next((d for d in subject.record.drains if d.event == id_), None)
            if drain is None:
                move_back(subject, id_, self.request.options)
            else:
                draining.go_back(subject, drain, self.request.options)
        except ProcessGone:
            raise
        except LibswapError as error:
            return StillMoved(id_, failure, error.message)
        return MovedBack(id_, failure)

    def _outcomes(self, subject: Subject, group: Sequence[Part]) -> list[tuple[str, Outcome]]:
        """All of a group are moved, or none."""
        commit = Group(self.request, group, self.cache, self.progress)
        try:
            # What is read of the files' code serves the verdict and the plan, and goes with them.
            with while_it_lives(subject.identity), without_collection():
                outcomes = while_it_changes(subject.again(), commit.move)
        except ProcessGone:
            raise
        except LibswapError as error:
            outcomes = [as_refused(error)] * len(group)
        record = subject.record
        paths = [path_of(record, part.source) for part in group]
        return list(zip(paths, outcomes, strict=True))

    def _complaint(self, pid: int) -> str:
        """Why the user's check is not content; "" where it is."""
        try:
            done = run(
                self.request.check, timeout=_CHECK_SECONDS, directory=".",
                environment={"LIBSWAP_PID": str(pid)},
            )  # fmt: skip
        except LibswapError as error:
            return error.message
        return f"the check failed: {done.complaint}" if done.status else ""


def while_it_changes(subject: Subject, work: Callable[[Subject], T]) -> T:
    """Do it anew where a library went away under our eyes: threads may load and unload others."""
    for _ in range(_MOST_LOOKS):
        with suppress(MemoryUnreachable):
            return work(subject)
        subject = subject.again()
    return work(subject)


def move_back(subject: Subject, id_: str, options: Options) -> live.Swapped:
    """Take a swap back, with all of its libraries.

    Raises:
        LoadFailed: a copy that was in use before is no longer loaded.
        LibswapError: see `libswap.live.swap.swap`.
    """
    return live.swap(subject, way_back(subject, id_), options, what=f"revert {id_}")
