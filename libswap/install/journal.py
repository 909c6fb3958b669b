"""The write-ahead journal: what an operation is about to do, on the disk before it is done.

There is one, because there is one lock. It comes into being whole, by a rename; marks are appended
to it; it is removed when the operation is in the history. docs/reference/install.md has the format.
"""

import os
from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.errors.install import JournalDamaged
from libswap.install import records
from libswap.install.records import Damage, Malformed
from libswap.install.transaction import Transaction
from libswap.linux import files
from libswap.linux.files import Directory

NAME: Final = "journal"
_NEW: Final = "journal.new"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Begin:
    """The first line: nothing has been changed yet, and these names may exist from now on."""

    transaction: Transaction
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything is staged, verified, kept and synced: the changes are made from now on."""

    id: str


@dataclass(frozen=True, slots=True)
class Abort:
    """The changes could not all be made: the old is being put back."""

    id: str


Mark: TypeAlias = Commit | Abort


@dataclass(frozen=True, slots=True)
class Pending:
    """An operation that a crash interrupted.

    Attributes:
        transaction: what it was to do.
        committed: whether it had passed the point of no return and was not being undone.
    """

    transaction: Transaction
    committed: bool


def begin(directory: Directory, transaction: Transaction) -> None:
    """Write what is going to be done; on return it is on the disk."""
    directory.unlink(_NEW)
    descriptor = directory.create(_NEW)
    try:
        files.write_all(descriptor, records.line(Begin(transaction)), directory.join(_NEW))
        files.sync(descriptor, directory.join(_NEW))
    finally:
        os.close(descriptor)
    directory.rename(_NEW, NAME)
    directory.sync()


def mark(directory: Directory, what: Mark) -> None:
    """Append a mark; on return it is on the disk."""
    append(directory, NAME, records.line(what))


def append(directory: Directory, name: str, data: bytes) -> None:
    """Add to the end of one of our files; on return it is on the disk."""
    path = directory.join(name)
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with files.refusal("append to", path):
        descriptor = os.open(name, flags, dir_fd=directory.descriptor)
    try:
        files.write_all(descriptor, data, path)
        files.sync(descriptor, path)
    finally:
        os.close(descriptor)


def end(directory: Directory) -> None:
    """Forget an operation that is complete and in the history, or undone."""
    directory.unlink(_NEW)
    if directory.unlink(NAME):
        directory.sync()


def pending(directory: Directory) -> Pending | None:
    """The operation that was interrupted, if there is one.

    Raises:
        JournalDamaged: the journal is not as it was written; nothing is guessed.
    """
    if directory.lstat(NAME) is None:
        return None
    descriptor = directory.open(NAME)
    try:
        with files.refusal("read", directory.join(NAME)):
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
    try:
        return parse(data)
    except Malformed as error:
        raise JournalDamaged(directory.join(NAME), str(error)) from None


def parse(data: bytes) -> Pending:
    """What the bytes of a journal say.

    A mark at the end that was torn by a crash had not been acted upon, so it counts as not written;
    recovery looks at the files themselves before it believes either.

    Raises:
        Malformed: any other line is damaged, or the lines make no sense.
    """
    found = list(records.lines(data))
    if not found or isinstance(found[0], Damage):
        raise Malformed("its first line is damaged")
    first = records.parse(found[0], Begin)
    if first.format != _FORMAT:
        raise Malformed(f"it has format {first.format}, this libswap knows {_FORMAT}")
    marks = [_mark(text, first.transaction.id) for text in found[1:]]
    last = next((m for m in reversed(marks) if m is not None), None)
    return Pending(first.transaction, isinstance(last, Commit))


def _mark(text: bytes | Damage, expected_id: str) -> Mark | None:
    if isinstance(text, Damage):
        if text.last:
            return None
        raise Malformed(f"its line {text.number} is damaged")
    found: Mark = records.parse(text, Commit, Abort)  # type: ignore[assignment]
    if found.id != expected_id:
        raise Malformed(f"a mark of {found.id} in the journal of {expected_id}")
    return found
