"""Replace libraries, then move the processes that run the replaced files onto the new ones."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.live import CheckFailed
from libswap.errors.process import ProcessGone
from libswap.install.obstacles import Allowance
from libswap.live.outlook import Options
from libswap.operations import install, rollback
from libswap.operations.draining import DrainBegun, DrainOptions
from libswap.operations.install import Installed
from libswap.operations.moves import Moved, MovedBack, ProcessResult, Report, StillMoved
from libswap.operations.revert import revert
from libswap.operations.rollback import RolledBack
from libswap.operations.status import status
from libswap.operations.swap import Progress, Request, swap_library
from libswap.settings import Settings

_MOST_ROUNDS: Final = 50
_STANDING: Final = ("switched", "draining", "done")


@dataclass(frozen=True, slots=True)
class Live:
    """How processes are to be moved.

    Attributes:
        options: as of `libswap live`.
        check: a command that must succeed after each process, else everything is taken back.
        rehearse: move a copy of each process first, and the process itself only if that works.
        unload: unload copies that are not in use and that nothing can reach any more.
        drain: leave old objects to the old copy, and let the new one make all others.
    """

    options: Options = field(default_factory=Options)
    check: tuple[str, ...] = ()
    rehearse: bool = False
    unload: bool = False
    drain: DrainOptions | None = None


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What would be done.

    Attributes:
        plan: of the files.
        processes: what would be done to each process, and what stands in its way.
    """

    plan: install.Plan
    processes: tuple[ProcessResult, ...]


@dataclass(frozen=True, slots=True)
class LiveInstalled:
    """What was done.

    Attributes:
        plan: what had been planned.
        installed: what became of the files.
        processes: what became of each process, in the order of the moves.
        uninspected: processes that could not be looked at.
        failure: why the check was not content, "" where it was.
        taken_back: processes that were moved back after another's check had failed.
        rolled_back: how the files were taken back then; None where they stay.
        trouble: why they could not be, "" where they could.
    """

    plan: LivePlan
    installed: Installed
    processes: tuple[ProcessResult, ...]
    uninspected: int
    failure: str = ""
    taken_back: tuple[ProcessResult, ...] = ()
    rolled_back: RolledBack | None = None
    trouble: str = ""

    @property
    def exit_code(self) -> int:
        """0 where every process runs on the new libraries; see docs/reference/exit-codes.md."""
        if self.failure:
            return CheckFailed.exit_code
        return Report((), self.processes, self.uninspected).exit_code


def plan(request: install.Request, settings: Settings, live: Live) -> LivePlan:
    """Look at the files and at the processes; nothing is changed.

    Raises:
        LibswapError: something forbids the installation.
    """
    decided = install.plan(request, settings)
    found = decided.comparisons
    if not found:
        return LivePlan(decided, ())
    asked = _request([(c.predecessor, c.source) for c in found], live)
    return LivePlan(decided, swap_library(replace(asked, dry_run=True)).processes)


def carry_out(
    decided: LivePlan,
    settings: Settings,
    live: Live,
    allowance: Allowance,
    progress: Progress = lambda *_: None,
) -> LiveInstalled:
    """Install, then move process by process; a check that fails takes all of it back.

    A process that cannot be moved goes on with the old library, and the installation stays.

    Raises:
        LibswapError: the installation was stopped; nothing was changed.
    """
    installed = install.carry_out(decided.plan, settings)
    found = decided.plan.comparisons
    if not found:
        return LiveInstalled(decided, installed, (), 0)
    asked = _request([(c.predecessor, c.path) for c in found], live)
    report = swap_library(replace(asked, state_dir=settings.state_dir), progress)
    done = LiveInstalled(decided, installed, report.processes, report.uninspected)
    failure = report.check_failed
    if not failure:
        return done
    rolled_back, trouble = _files_back(installed, settings, allowance)
    outcomes = (r.outcome for r in report.processes)
    ids = {o.id for o in outcomes if isinstance(o, Moved | MovedBack | StillMoved | DrainBegun)}
    taken_back = tuple(processes_back(ids, live.options))
    return replace(
        done, failure=failure, taken_back=taken_back, rolled_back=rolled_back, trouble=trouble
    )


def _request(names: Sequence[tuple[str, str]], live: Live) -> Request:
    (library, new), *more = [(Path(a), Path(b)) for a, b in names]
    return Request(
        library, new, options=live.options, check=live.check, more=tuple(more),
        stop_when_checked=True, rehearse=live.rehearse, unload=live.unload, drain=live.drain,
    )  # fmt: skip


def _files_back(
    installed: Installed, settings: Settings, allowance: Allowance
) -> tuple[RolledBack | None, str]:
    if installed.operation is None:
        return None, ""
    try:
        decided = rollback.plan(installed.operation.transaction.id, settings, allowance)
        return rollback.carry_out(decided, settings), ""
    except LibswapError as error:
        return None, error.message


def processes_back(ids: AbstractSet[str], options: Options) -> Iterator[ProcessResult]:
    """Take swaps back in everyone that carries one, children that were forked meanwhile too."""
    seen: set[tuple[int, str]] = set()
    for _ in range(_MOST_ROUNDS):
        found = [one for one in dict.fromkeys(_carriers(ids)) if one not in seen]
        if not found:
            return
        for pid, id_ in found:
            seen.add((pid, id_))
            with suppress(ProcessGone):
                yield from revert([pid], id_, options).processes


def _carriers(ids: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    """Process and swap, for each of these swaps that stands, the last one first."""
    for process in status().processes:
        undone = {e.what.removeprefix("revert ") for e in process.events}
        for event in reversed(process.events):
            if event.id in ids and event.id not in undone and event.state in _STANDING:
                yield process.pid, event.id
