"""What the watcher has in the state directory: its lock, its records, the staged files."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from libswap.errors.install import LockHeld
from libswap.install.state import require_trust
from libswap.linux.files import Directory
from libswap.linux.locks import try_lock
from libswap.operations import ledger
from libswap.operations.deployments import Cleared, Ended
from libswap.operations.ledger import DIRECTORY, LOCK
from libswap.settings import Settings
from libswap.watch.record import Record
from libswap.watch.staging import NAME, Staging

_ORPHANS: Final = "orphans"
_WAIT: Final = 1.0
"""Seconds; `watch status` holds the lock for a moment."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """All of it, open."""

    record: Record
    staging: Staging

    def ledger(self) -> list[Ended | Cleared | None]:
        """Every deployment that is remembered, oldest first."""
        return ledger.lines(self.record.directory)

    def orphans(self) -> str:
        """A directory for what belongs to a drop directory that is gone."""
        self.record.directory.make_below(_ORPHANS, 0o700)
        return os.path.realpath(self.record.directory.join(_ORPHANS))

    def clear_failures(self) -> None:
        """Write that failures are counted anew."""
        self.record.clear(Cleared(time.time()))


@contextmanager
def workplace(settings: Settings) -> Iterator[Workplace]:
    """Open it for one watcher.

    Raises:
        LockHeld: another watcher works with this state directory.
        UntrustedState: others could write to it.
    """
    root = str(settings.state_dir.absolute())
    with ExitStack() as stack:
        require_trust(stack.enter_context(Directory.make(root, 0o700)))
        directory = stack.enter_context(Directory.make(f"{root}/{DIRECTORY}", 0o700))
        lock = try_lock(directory, LOCK, _WAIT)
        if lock is None:
            raise LockHeld(directory.path, 0, "")
        stack.callback(os.close, lock)
        staging = stack.enter_context(Directory.make(directory.join(NAME), 0o700))
        yield Workplace(Record(directory), Staging(staging))
