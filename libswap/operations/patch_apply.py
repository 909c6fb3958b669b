"""Apply a patch to running processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.live import NotAllMoved
from libswap.errors.process import ProcessGone
from libswap.linux.rooted import Root
from libswap.linux.tracer import traced
from libswap.live.module import LibraryCache
from libswap.live.static_program import open_process
from libswap.live.subject import Subject
from libswap.operations.moves import Refused, Skipped, as_refused, process_name
from libswap.operations.patch_entries import Options, alone, entries_of, record_of, target_of
from libswap.operations.patch_insert import Applied, Work
from libswap.operations.patch_plan import Plan
from libswap.operations.patch_processes import processes_of
from libswap.operations.patch_show import show
from libswap.operations.patch_switch import finish
from libswap.operations.survival.nameless import finder
from libswap.patch.patch import Patch
from libswap.process.identity import Identity


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done; nothing was."""

    module: str
    functions: tuple[str, ...]
    replaces: tuple[str, ...]


Outcome: TypeAlias = Applied | Planned | Skipped | Refused


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What became of one process."""

    pid: int
    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all of them."""

    path: Path
    processes: tuple[ProcessResult, ...]

    @property
    def exit_code(self) -> int:
        """0 where every process has it; see docs/reference/exit-codes.md."""
        codes = {p.outcome.exit_code for p in self.processes if isinstance(p.outcome, Refused)}
        done = any(isinstance(p.outcome, Applied) for p in self.processes)
        if not codes:
            return 0
        return codes.pop() if len(codes) == 1 and not done else NotAllMoved.exit_code


def apply(
    path: Path,
    options: Options,
    *,
    pids: Sequence[int] = (),
    program: Path | None = None,
    state_dir: Path | None = None,
) -> Report:
    """Apply a patch file.

    Args:
        path: of the patch file.
        options: how.
        pids: these processes.
        program: the processes that run this file; with neither, all that run the patch's target.
        state_dir: where results of reading code are kept; None for nowhere.

    Raises:
        InvalidPatch: the file is damaged.
    """
    shown = show(path)
    with Root.open("/") as here:
        cache = LibraryCache((here,), finder(state_dir))
        found = [Identity.of(p) for p in pids] or processes_of(shown.patch.pin, program)
        one = partial(
            _one, patch=shown.patch, checksum=shown.identity, options=options, cache=cache
        )
        results = tuple(traced(partial(one, i)) for i in found)
    return Report(path, results)


def _one(
    identity: Identity, patch: Patch, checksum: str, options: Options, cache: LibraryCache
) -> ProcessResult:
    name = process_name(identity.pid)
    try:
        with alone(identity, options), open_process(identity, cache) as found:
            subject = found if options.dry_run else finish(found, options.wait)
            outcome = _outcome(subject, patch, checksum, options)
    except ProcessGone as error:
        outcome = Skipped(error.message)
    except LibswapError as error:
        outcome = as_refused(error)
    return ProcessResult(identity.pid, name, outcome)


def _outcome(subject: Subject, patch: Patch, checksum: str, options: Options) -> Outcome:
    record = record_of(subject)
    module = target_of(subject, patch)
    for one in record.patches:
        if one.active and one.patch == checksum and one.base == module.base:
            return Skipped(f"it has this patch already, as {one.id}")
    plan = Plan(subject, module, patch, checksum, options, entries_of(subject, module, patch))
    if options.dry_run:
        names = tuple(r.label for r in patch.replaced)
        return Planned(module.path, names, tuple(p.id for p in plan.superseded))
    return Work(plan, subject).run()
