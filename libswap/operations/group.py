"""What is moved in one commit: libraries that one process uses in one namespace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from libswap.errors.base import LibswapError
from libswap.errors.live import AbiBroken, ObjectsUnknown, ObjectsUnsafe, RehearsalFailed
from libswap.live import swap as live
from libswap.live.draining.end import refuse_beside
from libswap.live.findings import risk
from libswap.live.library import Library
from libswap.live.module import LibraryCache, Module
from libswap.live.move import Move
from libswap.live.outlook import Options, look, require_possible
from libswap.live.rehearsal import copied, require_private
from libswap.live.subject import Subject
from libswap.operations import draining, outside
from libswap.operations.affected import broken_beside, broken_by, copy_of, judged_by, sees
from libswap.operations.draining import DrainOptions
from libswap.operations.moves import Moved, Outcome, Planned
from libswap.operations.survival import Verdict


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        library: the name that processes know.
        new: the file to use instead; where None, what `library` leads to now.
        pids: only these processes; empty for all that use it.
        options: how.
        dry_run: make the plans and change nothing.
        check: a command that must succeed after each process, else that one is moved back.
        state_dir: where a copy of each process's record is kept; None for nowhere.
        more: further libraries, each with its file, that every process is moved onto in the same
            commit.
        stop_when_checked: whether a check that fails ends it all.
        rehearse: move a copy of each process first, and the process itself only if that works.
        unload: unload copies that are not in use and that nothing can reach any more.
        drain: leave old objects to the old copy, and let the new one make all others.
    """

    library: Path
    new: Path | None = None
    pids: tuple[int, ...] = ()
    options: Options = field(default_factory=Options)
    dry_run: bool = False
    check: tuple[str, ...] = ()
    state_dir: Path | None = None
    more: tuple[tuple[Path, Path | None], ...] = ()
    stop_when_checked: bool = False
    unload: bool = False
    rehearse: bool = False
    drain: DrainOptions | None = None


Progress = Callable[[int, str], None]
"""Told of a process and of the step that begins for it."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A library by the name that processes know, and the file to be used."""

    library: Path
    file: Path
    new: Library


@dataclass(frozen=True, slots=True)
class Part:
    """A copy in use that is to be replaced."""

    source: Module
    aim: Aim


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of one commit in one process.

    Attributes:
        request: what is asked for.
        parts: the copies in use, all of one namespace.
        cache: of files.
        progress: told of each step.
    """

    request: Request
    parts: Sequence[Part]
    cache: LibraryCache
    progress: Progress

    def move(self, subject: Subject) -> list[Outcome]:
        """Move all of them, or none; or only make the plans.

        Raises:
            LibswapError: see `libswap.live.swap.swap`; or objects would not survive it.
        """
        options, pid = self.request.options, subject.identity.pid
        for part in self.parts:
            refuse_beside(subject.record, part.source.base, pid)
            require_possible(part.source, part.aim.new)
        if self.request.drain is not None:
            return self._drain(subject, self.request.drain)
        if self.request.dry_run:
            return [self._planned(subject, part) for part in self.parts]
        for part in self.parts:
            broken = broken_by(part.source, part.aim.new)
            if broken and not options.force:
                raise AbiBroken(str(part.aim.file), broken)
            self._require_survival(part)
        if self.request.rehearse:
            self._rehearse(subject)
        done = live.swap(
            subject, [_move_of(subject, p.source, p.aim) for p in self.parts], options,
            progress=lambda step: self.progress(pid, step),
        )  # fmt: skip
        outside.keep(self.request.state_dir, subject.again())
        return [moved(done, part.source, rehearsed=self.request.rehearse) for part in self.parts]

    def _drain(self, subject: Subject, chosen: DrainOptions) -> list[Outcome]:
        if len(self.parts) > 1:
            raise draining.refused_together([part.source for part in self.parts], chosen)
        (part,) = self.parts
        broken = broken_beside(subject, part.source, part.aim.new)
        request, pid = self.request, subject.identity.pid
        if broken and not (request.options.force or request.dry_run):
            raise AbiBroken(str(part.aim.file), broken)
        move = _move_of(subject, part.source, part.aim)
        start = draining.Start(subject, move, request.options, chosen, broken)
        if request.dry_run:
            return [start.plan()]
        done = start.run(lambda step: self.progress(pid, step))
        outside.keep(request.state_dir, subject.again())
        return [done]

    def _planned(self, subject: Subject, part: Part) -> Planned:
        outlook = look(subject, part.source, part.aim.new, self.request.options).outlook
        broken = broken_by(part.source, part.aim.new)
        found = tuple(risk("abi", str(part.aim.file), text) for text in broken)
        judged = judged_by(part.source, part.aim.new, self.request.state_dir)
        return Planned(replace(outlook, findings=(*found, *outlook.findings)), judged)

    def _require_survival(self, part: Part) -> None:
        """Objects that the old code made must be what the new code takes them for."""
        options = self.request.options
        if options.force:
            return
        judged = judged_by(part.source, part.aim.new, self.request.state_dir)
        if judged.verdict is Verdict.UNSAFE:
            raise ObjectsUnsafe(str(part.aim.file), judged.told)
        if judged.verdict is Verdict.UNKNOWN and not options.accept_unknown:
            raise ObjectsUnknown(str(part.aim.file), judged.told)

    def _rehearse(self, subject: Subject) -> None:
        """The same swap in a copy of the process, which must live afterwards."""
        options, pid = self.request.options, subject.identity.pid
        self.progress(pid, "rehearse")
        for part in self.parts:
            require_private(subject, part.source)
        work = 2 * options.wait + options.constructors
        with copied(subject, wait=options.wait, work=work) as copy:
            try:
                with Subject.open(copy, self.cache) as twin:
                    at = {m.base: m for m in twin.modules}
                    sources = [(at.get(p.source.base, p.source), p.aim) for p in self.parts]
                    live.swap(twin, [_move_of(twin, s, aim) for s, aim in sources], options)
                    copy.check()
            except LibswapError as error:
                raise RehearsalFailed(pid, error.message) from None


def _move_of(subject: Subject, source: Module, aim: Aim) -> Move:
    loaded = copy_of(subject, source, aim.new)
    unseen = loaded is None and not sees(subject, aim.file)
    return Move(source, aim.new, str(aim.file), loaded=loaded, hand_over=unseen)


def moved(done: live.Swapped, source: Module, *, rehearsed: bool = False) -> Moved:
    """What was done, as the result of one library."""
    outlook = done.outlooks[source.base]
    return Moved(done.id, done.stopped_for, done.attempts, done.threads, outlook, rehearsed)
