"""What the watcher writes of its deployments: the one under way, and a ledger of those that ended.

The record of a deployment comes into being whole, by a rename, before anything is done for it.
Marks are appended, each before what it speaks of is done. It is removed when the ledger has its
line. So whoever finds a record knows what to go on with, and nothing is deployed twice.
"""

import os
from dataclasses import dataclass
from typing import Final

from libswap.install import records
from libswap.install.journal import append
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.operations import ledger
from libswap.operations.deployments import (
    Cleared,
    Current,
    Deployment,
    Ended,
    Mark,
)
from libswap.operations.ledger import CURRENT, LEDGER, OLDER

_NEW: Final = "current.new"
_MOST: Final = 4 << 20
"""Bytes of the ledger; then it becomes the older one, whose place it takes."""


@dataclass(frozen=True, slots=True)
class Record:
    """The watcher's files in its directory."""

    directory: Directory

    def begin(self, deployment: Deployment, *marks: Mark) -> Current:
        """Write what will be deployed, or that it will not; on return it is on the disk."""
        return self._write(Current(deployment, marks))

    def mark(self, current: Current, mark: Mark) -> Current:
        """Write what is about to be done; on return it is on the disk."""
        append(self.directory, CURRENT, records.line(mark))
        return Current(current.deployment, (*current.marks, mark))

    def current(self) -> Current | None:
        """What a watcher that was killed has left; a mark that was torn is cut off.

        Raises:
            RecordUnreadable: it is damaged.
        """
        found = ledger.current(self.directory)
        return None if found is None else self._write(found)

    def end(self, ended: Ended, *, again: bool) -> None:
        """Write a deployment into the ledger, once, and forget its record.

        Args:
            ended: the deployment and its end.
            again: whether another watcher was killed over it, and may have written the line.
        """
        last = ledger.last_ended(self.directory) if again else None
        if last is None or last.deployment.id != ended.deployment.id:
            self._append(ended)
        # Not synced: after a power cut it may be there again, and ends once more without a trace.
        self.directory.unlink(CURRENT)

    def clear(self, cleared: Cleared) -> None:
        """Write that failures are to be counted anew."""
        self._append(cleared)

    def _append(self, line: Ended | Cleared) -> None:
        status = self.directory.lstat(LEDGER)
        if status is not None and status.st_size > _MOST:
            self.directory.rename(LEDGER, OLDER)
            status = None
        if status is None:
            os.close(self.directory.create(LEDGER))
            self.directory.sync()
        torn = ledger.tail(self.directory, LEDGER, 1) not in (b"", b"\n")
        append(self.directory, LEDGER, b"\n" * torn + records.line(line))

    def _write(self, current: Current) -> Current:
        """Write the record as a whole: without a torn end, to which a mark would be glued."""
        self.directory.unlink(_NEW)
        descriptor = self.directory.create(_NEW)
        try:
            lines = b"".join(map(records.line, (current.deployment, *current.marks)))
            files.write_all(descriptor, lines, self.directory.join(_NEW))
            files.sync(descriptor, self.directory.join(_NEW))
        finally:
            os.close(descriptor)
        self.directory.rename(_NEW, CURRENT)
        self.directory.sync()
        return current
