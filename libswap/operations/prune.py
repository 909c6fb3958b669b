"""Let go of files that were kept for rollbacks, and of old versions that nothing leads to."""

from dataclasses import dataclass

from libswap.install import history
from libswap.install import store as kept
from libswap.install.recover import recover_pending
from libswap.install.state import State, locked, opened
from libswap.install.store import Entry
from libswap.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go.

    Attributes:
        entries: kept files.
        size: bytes in them; a file that still has another name frees nothing.
        remaining: how many kept files stay.
    """

    entries: tuple[Entry, ...]
    size: int
    remaining: int


def plan(settings: Settings) -> Plan:
    """What the limits say must go; nothing is changed."""
    with opened(settings.state_dir) as state:
        return Plan((), 0, 0) if state is None else _plan(state, settings)


def carry_out(settings: Settings) -> Plan:
    """Remove it, by a plan made under the lock.

    Raises:
        LibswapError: something stopped it.
    """
    with locked(settings.state_dir, settings.lock_wait, "prune") as state:
        recover_pending(state)
        return enforce_limits(state, settings)


def enforce_limits(state: State, settings: Settings) -> Plan:
    """Remove what is over the limits; what the next rollback of any file needs always stays."""
    decided = _plan(state, settings)
    kept.remove(state.store, (entry.name for entry in decided.entries))
    return decided


def _plan(state: State, settings: Settings) -> Plan:
    entries = kept.entries(state.store)
    known = history.load(state.directory)
    gone = kept.superfluous(
        entries,
        known.kept,
        known.kept_for_latest,
        max_files=settings.store_max_files,
        max_bytes=settings.store_max_bytes,
    )
    return Plan(gone, sum(entry.size for entry in gone), len(entries) - len(gone))
