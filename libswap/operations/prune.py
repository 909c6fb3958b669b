"""Let go of files that were kept for rollbacks, and of old versions that nothing leads to."""

import os
import time
from dataclasses import dataclass, replace

from libswap.install import history, packages, superseded
from libswap.install import plan as planning
from libswap.install import store as kept
from libswap.install.commit import commit
from libswap.install.history import Operation
from libswap.install.recover import recover_pending
from libswap.install.state import State, locked, opened
from libswap.install.store import Entry
from libswap.install.transaction import Caller, Change, Kind, Strategy, Transaction, new_id
from libswap.scan.usage import users_of
from libswap.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go.

    Attributes:
        versions: removes old versions beside newer ones; it can be rolled back. None for none.
        entries: kept files over the limits.
        size: bytes in them; a file that still has another name frees nothing.
        remaining: how many kept files stay.
        unclear: those of them that may be needed by lines of the history that cannot be read.
    """

    versions: Transaction | None
    entries: tuple[Entry, ...]
    size: int
    remaining: int
    unclear: int = 0


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went.

    Attributes:
        plan: what had been planned.
        operation: the removal of old versions; None where there were none.
    """

    plan: Plan
    operation: Operation | None


def plan(settings: Settings) -> Plan:
    """What must go by the limits, and what nothing leads to; nothing is changed."""
    with opened(settings.state_dir) as state:
        if state is None:
            return Plan(None, (), 0, 0)
        return replace(_over_limits(state, settings), versions=_versions(state))


def carry_out(decided: Plan, settings: Settings) -> Pruned:
    """Remove it; what is over the limits is looked up again under the lock.

    Raises:
        LibswapError: something stopped it.
    """
    with locked(settings.state_dir, settings.lock_wait, "prune") as state:
        recover_pending(state)
        versions = decided.versions
        operation = None if versions is None else commit(versions, state)
        return Pruned(replace(enforce_limits(state, settings), versions=versions), operation)


def enforce_limits(state: State, settings: Settings) -> Plan:
    """Remove kept files over the limits; what the next rollback of any file needs always stays."""
    decided = _over_limits(state, settings)
    kept.remove(state.store, (entry.name for entry in decided.entries))
    return decided


def keep_within_limits(state: State, settings: Settings) -> None:
    """The same after an operation, once the limits are exceeded by a tenth.

    So not every operation reads the whole history, which can be years long.
    """
    entries = kept.entries(state.store)
    most_files, most_bytes = settings.store_max_files, settings.store_max_bytes
    too_many = len(entries) > most_files + most_files // 10
    too_big = sum(entry.size for entry in entries) > most_bytes + most_bytes // 10
    if too_many or too_big:
        enforce_limits(state, settings)


def _over_limits(state: State, settings: Settings) -> Plan:
    entries = kept.entries(state.store)
    needed = history.kept(state.directory)
    unclear = needed.unclear(entry.name for entry in entries)
    gone = kept.superfluous(
        entries,
        needed.ever | unclear,
        needed.latest | unclear,
        max_files=settings.store_max_files,
        max_bytes=settings.store_max_bytes,
    )
    return Plan(
        None, gone, sum(entry.size for entry in gone), len(entries) - len(gone), len(unclear)
    )


def _versions(state: State) -> Transaction | None:
    """Old versions that no link leads to, no process has loaded and no package owns."""
    known = history.load(state.directory)
    found = [*superseded.removals(superseded.candidates(known.done))]
    owned = {owner.path for owner in packages.owners(change.path for change in found)}
    free = [c for c in found if c.path not in owned and not _in_use(c)]
    if not free:
        return None
    now = time.time()
    operation_id = new_id(now)
    changes = planning.numbered(free, operation_id)
    return Transaction(operation_id, Kind.PRUNE, now, Caller.current(), Strategy.RENAME, changes)


def _in_use(change: Change) -> bool:
    """Whether a process has it loaded, or could have and will not say so."""
    usage = users_of([change.path])
    return bool(usage.users) or (os.geteuid() != 0 and bool(usage.uninspected))
