"""Take patches back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from libswap.elf.instructions import JUMP_SIZE
from libswap.errors.base import LibswapError
from libswap.errors.patch import NoSuchPatch, PatchCallFailed, PatchNotRevertible
from libswap.errors.process import ProcessGone
from libswap.linux.memory import Range
from libswap.linux.rooted import Root
from libswap.linux.tracer import traced
from libswap.live import switch
from libswap.live.module import LibraryCache
from libswap.live.patches import EntryRecord, PatchRecord
from libswap.live.quiescence import Forbidden
from libswap.live.static_program import open_process
from libswap.live.subject import Subject
from libswap.operations.moves import Refused, Skipped, as_refused, process_name
from libswap.operations.patch_entries import (
    Options,
    alone,
    code_of,
    record_of,
    restored,
    visiting,
)
from libswap.operations.patch_switch import finish, switched
from libswap.operations.survival.nameless import finder
from libswap.process.identity import Identity, require_there


@dataclass(frozen=True, slots=True)
class Reverted:
    """The functions are what they were before it."""

    id: str
    stopped_for: float
    attempts: int
    threads: int


@dataclass(frozen=True, slots=True)
class WouldRevert:
    """What would be done; nothing was."""

    id: str
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What became of one process."""

    pid: int
    name: str
    outcome: Reverted | WouldRevert | Skipped | Refused


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all of them."""

    processes: tuple[ProcessResult, ...]

    @property
    def exit_code(self) -> int:
        """0 where it was taken back everywhere; else that of the first refusal."""
        refused = [p.outcome for p in self.processes if isinstance(p.outcome, Refused)]
        return refused[0].exit_code if refused else 0


def revert(
    pids: Sequence[int], wanted: str, options: Options, *, state_dir: Path | None = None
) -> Report:
    """Take back one patch of each process.

    Args:
        pids: the processes.
        wanted: the beginning of a patch's id, or of its file's checksum; "" for the last one.
        options: how.
        state_dir: where results of reading code are kept; None for nowhere.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    with Root.open("/") as here:
        cache = LibraryCache((here,), finder(state_dir))
        one = partial(_one, wanted=wanted, options=options, cache=cache)
        return Report(tuple(traced(partial(one, pid)) for pid in pids))


def _one(pid: int, wanted: str, options: Options, cache: LibraryCache) -> ProcessResult:
    name = process_name(pid)
    outcome: Reverted | WouldRevert | Skipped | Refused
    try:
        identity = Identity.of(pid)
        with alone(identity, options), open_process(identity, cache) as found:
            subject = found if options.dry_run else finish(found, options.wait)
            outcome = _revert(subject, wanted, options)
    except ProcessGone as error:
        outcome = Skipped(error.message)
    except LibswapError as error:
        outcome = as_refused(error)
    return ProcessResult(pid, name, outcome)


def _revert(subject: Subject, wanted: str, options: Options) -> Reverted | WouldRevert:
    place, patch = subject.place, named(subject, wanted)
    if place is None:
        raise AssertionError("the patch was found in its record")
    changes, done = _changes(subject, patch)
    if options.dry_run:
        return WouldRevert(patch.id, tuple(e.label for e in patch.entries))
    if patch.pre_revert:
        _ask(subject, patch, options)
    area = patch.memory + patch.gates + _half(patch) if patch.gates else 0
    prepared = switch.prepare(changes, area, done)
    forbidden = _forbidden(patch, relaxed=options.relaxed)
    outcome = switched(subject, place, prepared, forbidden, options.wait)
    return Reverted(patch.id, outcome.stopped_for, outcome.attempts, outcome.threads)


def named(subject: Subject, wanted: str) -> PatchRecord:
    """The active patch that is meant: the one whose id or checksum begins so, or the last.

    Raises:
        NoSuchPatch: there is none.
    """
    for patch in reversed(record_of(subject).patches):
        if patch.active and (patch.id.startswith(wanted) or patch.patch.startswith(wanted)):
            return patch
    raise NoSuchPatch(subject.identity.pid, wanted)


def _changes(
    subject: Subject, patch: PatchRecord
) -> tuple[list[switch.Change], tuple[PatchRecord, ...]]:
    """The entries to write, and the patches afterwards.

    Where a later patch stands on an entry, the entry stays; the later one's way back then leads
    below this one, unless it calls what it stands on.
    """
    patches = {p.id: p for p in record_of(subject).patches}
    changes = []
    for entry in patch.entries:
        over = _over(tuple(patches.values()), patch, entry)
        if over is None:
            changes.append(restored(subject, entry))
            continue
        later, theirs = over
        if theirs.chained:
            reason = f"patch {later.id} calls its {entry.label}"
            raise PatchNotRevertible(subject.identity.pid, patch.id, reason)
        lowered = tuple(
            replace(e, before=entry.before) if e.address == entry.address else e
            for e in later.entries
        )
        patches[later.id] = replace(later, entries=lowered)
    patches[patch.id] = replace(patch, state="reverted")
    return changes, tuple(patches.values())


def _over(
    patches: tuple[PatchRecord, ...], patch: PatchRecord, entry: EntryRecord
) -> tuple[PatchRecord, EntryRecord] | None:
    """The patch that stands directly on an entry of another."""
    for later in patches:
        for theirs in later.entries:
            same = theirs.address == entry.address and theirs.before == entry.after
            if same and later.active and later.id != patch.id:
                return later, theirs
    return None


def _ask(subject: Subject, patch: PatchRecord, options: Options) -> None:
    with visiting(subject, options.wait, options.calls) as visit:
        said = visit.call(patch.pre_revert, "libswap_pre_revert") & 0xFFFFFFFF
    if said:
        pid = subject.identity.pid
        raise PatchCallFailed(pid, "libswap_pre_revert", f"it answered {said}")


def _half(patch: PatchRecord) -> int:
    """The gates for taking back lie behind those for applying."""
    return (patch.size - patch.gates) // 2 & -64


def _forbidden(patch: PatchRecord, *, relaxed: bool) -> tuple[Forbidden, ...]:
    """The new functions; running calls may end in them where that is wanted."""
    entries = tuple(
        Forbidden(Range(e.address, e.address + JUMP_SIZE), e.label) for e in patch.entries
    )
    if relaxed:
        return entries
    gates = Range(patch.memory + patch.gates, patch.memory + patch.size)
    inside = (Forbidden(gates, f"a gate of patch {patch.id}"),) if patch.gates else ()
    return (*entries, code_of(patch), *inside)
