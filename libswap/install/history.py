"""All operations that came to an end, in a file that is only ever appended to."""

import os
from dataclasses import dataclass
from enum import Enum
from typing import Final

from libswap.install import records
from libswap.install.journal import append
from libswap.install.records import Damage, Malformed
from libswap.install.transaction import Change, Transaction
from libswap.linux import files
from libswap.linux.files import Directory

NAME: Final = "history"


class Outcome(Enum):
    """How an operation ended."""

    DONE = "done"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the history.

    Attributes:
        transaction: what was done; in a done one, the files of `after` have their inodes.
        outcome: whether it holds or was put back.
        ended: seconds since the epoch.
        recovered: whether a later command had to bring it to its end.
        remarks: what did not go as one would wish, in words.
    """

    transaction: Transaction
    outcome: Outcome
    ended: float
    recovered: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """What the file holds.

    Attributes:
        operations: oldest first, each id once.
        damaged: the numbers of the lines that cannot be read.
    """

    operations: tuple[Operation, ...] = ()
    damaged: tuple[int, ...] = ()

    @property
    def done(self) -> tuple[Operation, ...]:
        """The operations that hold."""
        return tuple(o for o in self.operations if o.outcome is Outcome.DONE)

    def find(self, operation_id: str) -> Operation | None:
        """The operation with this id."""
        return next((o for o in self.operations if o.transaction.id == operation_id), None)

    def last_of(self, path: str) -> Operation | None:
        """The newest operation that holds and changed what `path` stands for."""
        touching = (o for o in reversed(self.done) if path in paths(o.transaction))
        return next(touching, None)

    @property
    def kept(self) -> frozenset[str]:
        """What the store must hold for any rollback."""
        return frozenset().union(*(o.transaction.kept for o in self.done))

    @property
    def kept_for_latest(self) -> frozenset[str]:
        """What the store must hold to take back the newest change of each name."""
        newest: dict[str, Change] = {}
        for operation in self.done:
            newest.update({change.path: change for change in operation.transaction.changes})
        return frozenset(change.keep for change in newest.values() if change.keep)


def paths(transaction: Transaction) -> frozenset[str]:
    """The names that an operation changes."""
    return frozenset(change.path for change in transaction.changes)


def record(directory: Directory, operation: Operation) -> None:
    """Append an operation; on return it is on the disk.

    A torn line that an earlier crash left at the end is closed by a newline first.
    """
    if directory.lstat(NAME) is None:
        os.close(directory.create(NAME))
        directory.sync()
    torn = _read(directory, last=1) not in (b"", b"\n")
    append(directory, NAME, b"\n" * torn + records.line(operation))


def load(directory: Directory) -> History:
    """Read the history; lines that cannot be read are counted, not dropped."""
    if directory.lstat(NAME) is None:
        return History()
    found: dict[str, Operation] = {}
    damaged = []
    for number, text in enumerate(records.lines(_read(directory)), 1):
        operation = _operation(text)
        if operation is None:
            damaged.append(number)
        else:
            found.setdefault(operation.transaction.id, operation)
    return History(tuple(found.values()), tuple(damaged))


def find(directory: Directory, operation_id: str) -> Operation | None:
    """One operation, without reading what the others are: a history can be years long."""
    if directory.lstat(NAME) is None:
        return None
    wanted = operation_id.encode()
    found = b"".join(line + b"\n" for line in _read(directory).split(b"\n") if wanted in line)
    operations = filter(None, map(_operation, records.lines(found)))
    return next((o for o in operations if o.transaction.id == operation_id), None)


def _operation(text: bytes | Damage) -> Operation | None:
    if isinstance(text, Damage):
        return None
    try:
        return records.parse(text, Operation)
    except Malformed:
        return None


def _read(directory: Directory, last: int = 1 << 40) -> bytes:
    """All of the file, or its last bytes."""
    descriptor = directory.open(NAME)
    try:
        with files.refusal("read", directory.join(NAME)):
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, min(size, last), max(size - last, 0))
    finally:
        os.close(descriptor)
