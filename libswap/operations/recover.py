"""Bring what a crash interrupted to its end."""

import time
from dataclasses import dataclass

from libswap.install import journal
from libswap.install.history import Operation
from libswap.install.journal import Pending
from libswap.install.recover import recover_pending
from libswap.install.state import locked, opened
from libswap.settings import Settings


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found and done.

    Attributes:
        operation: what was interrupted, and how it ended now; None where nothing was.
        discarded: where the journal was moved to when it was given up.
    """

    operation: Operation | None
    discarded: str | None = None


def pending(settings: Settings) -> Pending | None:
    """The interrupted operation, if there is one; nothing is changed.

    Raises:
        JournalDamaged: it cannot be read.
    """
    with opened(settings.state_dir) as state:
        return None if state is None else journal.pending(state.directory)


def carry_out(settings: Settings) -> Recovered:
    """Finish or undo what was interrupted.

    Raises:
        JournalDamaged: what there is cannot be read.
        RecoveryStuck: it can be neither finished nor undone.
    """
    if not settings.state_dir.is_dir():
        return Recovered(None)
    with locked(settings.state_dir, settings.lock_wait, "recover") as state:
        return Recovered(recover_pending(state))


def discard(settings: Settings) -> Recovered:
    """Give a journal up that cannot be followed; it is moved aside, not removed."""
    with locked(settings.state_dir, settings.lock_wait, "recover") as state:
        if state.directory.lstat(journal.NAME) is None:
            return Recovered(None)
        name = f"{journal.NAME}.discarded-{int(time.time())}"
        state.directory.rename(journal.NAME, name, replace=False)
        state.directory.sync()
        return Recovered(None, state.directory.join(name))
