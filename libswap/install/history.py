"""All operations that came to an end, in a file that is only ever appended to."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Final, TypeVar

from libswap.install import records
from libswap.install.journal import append
from libswap.install.records import Damage, Malformed
from libswap.install.transaction import Transaction
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.settings import HISTORY

_BLOCK: Final = 1 << 16
"""Bytes that are read at once from its end."""

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store must hold.

    Attributes:
        ever: for any rollback.
        latest: to take back the newest change of each name.
        damaged: how many lines cannot be read, and may need any other file.
    """

    ever: frozenset[str]
    latest: frozenset[str]
    damaged: int = 0

    def unclear(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these names no line mentions, though one that cannot be read may."""
        return frozenset(names) - self.ever if self.damaged else frozenset()

    def unneeded(self, names: Iterable[str]) -> frozenset[str]:
        """Which of these names no line mentions, as far as all lines can be read."""
        return frozenset() if self.damaged else frozenset(names) - self.ever


def paths(transaction: Transaction) -> frozenset[str]:
    """The names that an operation changes."""
    return frozenset(change.path for change in transaction.changes)


def record(directory: Directory, operation: Operation) -> None:
    """Append an operation; on return it is on the disk.

    A torn line that an earlier crash left at the end is closed by a newline first.
    """
    if directory.lstat(HISTORY) is None:
        os.close(directory.create(HISTORY))
        directory.sync()
    append(directory, HISTORY, b"\n" * _torn(directory) + records.line(operation))


def load(directory: Directory) -> History:
    """Read the history; lines that cannot be read are counted, not dropped."""
    found: dict[str, Operation] = {}
    damaged = []
    for number, line in enumerate(_lines(directory), 1):
        operation = _parsed(line, Operation)
        if operation is None:
            damaged.append(number)
        else:
            found.setdefault(operation.transaction.id, operation)
    return History(tuple(found.values()), tuple(damaged))


def find(directory: Directory, operation_id: str) -> Operation | None:
    """One operation, without reading what the others are: a history can be years long."""
    wanted = operation_id.encode()
    if directory.lstat(HISTORY) is None:
        return None
    whole = islice(_newest_first(directory), _torn(directory), None)
    named = (line for line in whole if wanted in line)
    operations = filter(None, (_parsed(line, Operation) for line in named))
    return next((o for o in operations if o.transaction.id == operation_id), None)


@dataclass(frozen=True, slots=True)
class _Change:
    """What of a change has to do with the store; the rest is not read."""

    directory: str
    name: str
    keep: str | None


@dataclass(frozen=True, slots=True)
class _Transaction:
    id: str
    changes: tuple[_Change, ...]


@dataclass(frozen=True, slots=True)
class _Operation:
    transaction: _Transaction
    outcome: Outcome


def kept(directory: Directory) -> Kept:
    """What the store must hold, without holding the whole history."""
    ever, latest, seen = set[str](), dict[tuple[str, str], str | None](), set[str]()
    damaged = 0
    for operation in (_parsed(line, _Operation) for line in _lines(directory)):
        if operation is None:
            damaged += 1
            continue
        made = operation.transaction
        if operation.outcome is Outcome.DONE and made.id not in seen:
            ever |= {change.keep for change in made.changes if change.keep}
            latest.update({(c.directory, c.name): c.keep for c in made.changes})
        seen.add(made.id)
    return Kept(frozenset(ever), frozenset(filter(None, latest.values())), damaged)


def _lines(directory: Directory) -> Iterator[bytes]:
    if directory.lstat(HISTORY) is None:
        return
    with (
        files.refusal("read", directory.join(HISTORY)),
        os.fdopen(directory.open(HISTORY), "rb") as file,
    ):
        yield from file


def _newest_first(directory: Directory) -> Iterator[bytes]:
    """The lines from the last to the first, of which mostly a few are wanted."""
    descriptor, rest = directory.open(HISTORY), b""
    try:
        with files.refusal("read", directory.join(HISTORY)):
            left = os.fstat(descriptor).st_size
            while left:
                size = min(left, _BLOCK)
                left -= size
                rest, *whole = (os.pread(descriptor, size, left) + rest).split(b"\n")
                yield from (line + b"\n" for line in reversed(whole) if line)
        yield rest + b"\n"
    finally:
        os.close(descriptor)


def _parsed(line: bytes, kind: type[T]) -> T | None:
    """What a line says, or None where it cannot be read."""
    (text,) = records.lines(line)
    if isinstance(text, Damage):
        return None
    try:
        return records.parse(text, kind)
    except Malformed:
        return None


def _torn(directory: Directory) -> bool:
    """Whether a crash broke the last line off."""
    return _last_byte(directory) not in (b"", b"\n")


def _last_byte(directory: Directory) -> bytes:
    descriptor = directory.open(HISTORY)
    try:
        with files.refusal("read", directory.join(HISTORY)):
            return os.pread(descriptor, 1, max(os.fstat(descriptor).st_size - 1, 0))
    finally:
        os.close(descriptor)
