"""Bring an interrupted operation to an end: all of it, or none of it.

The journal says what was meant; what to do is decided by the files themselves, by their bytes. So
it can be interrupted at any moment and started again.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum

from libswap.errors.base import SystemRefused
from libswap.errors.install import NoSpace, NotReplaceable, RecoveryStuck
from libswap.install import history, journal, linker_cache
from libswap.install import store as kept
from libswap.install.content import Content, File, Nothing, inode_of, observe, same
from libswap.install.exclusion import alone_in
from libswap.install.history import Operation, Outcome
from libswap.install.journal import Pending
from libswap.install.replace import apply, undo
from libswap.install.state import State
from libswap.install.transaction import Change, Strategy, Transaction
from libswap.linux import files
from libswap.linux.attributes import Attributes
from libswap.linux.files import Directory


class Standing(Enum):
    """What a name stands for, seen from a change of it.

    GONE is the moment of the strategy `unlink` between its two steps; OTHER is somebody else's
    doing and is left alone.
    """

    OLD = "old"
    NEW = "new"
    GONE = "gone"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a crash left one change.

    Attributes:
        change: the change.
        standing: what its name stands for.
        staged: whether the new is ready under its stage name.
        kept: whether the old could be put back.
    """

    change: Change
    standing: Standing
    staged: bool
    kept: bool

    @property
    def can_finish(self) -> bool:
        """Whether the name can be made to stand for the new."""
        return self.standing in (Standing.NEW, Standing.OTHER) or self.staged

    @property
    def can_undo(self) -> bool:
        """Whether the name can be made to stand for the old."""
        return self.standing in (Standing.OLD, Standing.OTHER) or self.kept


def settle(state: State, pending: Pending) -> Operation:
    """Finish or undo an interrupted operation, and write it into the history.

    Finished when it was committed and every change can still be made; undone otherwise.

    Raises:
        RecoveryStuck: neither is possible; every file is as it was found.
    """
    transaction = pending.transaction
    with _directories_that_remain(transaction) as directories:
        found = [
            _situation(c, transaction.strategy, directories.get(c.directory), state)
            for c in transaction.changes
        ]
        if pending.committed and all(s.can_finish for s in found):
            outcome = Outcome.DONE
            _finish(found, transaction, directories)
        elif all(s.can_undo for s in found):
            outcome = Outcome.UNDONE
            _undo(found, directories, state)
        else:
            stuck = [s for s in found if not s.can_undo]
            raise RecoveryStuck(transaction.id, tuple(s.change.path for s in stuck))
        _clear_stages(transaction, directories)
        remarks = [
            f"{s.change.path} was replaced by something else meanwhile and was left alone"
            for s in found
            if s.standing is Standing.OTHER
        ]
        return close(state, transaction, outcome, directories, remarks, recovered=True)


def close(
    state: State,
    transaction: Transaction,
    outcome: Outcome,
    directories: Mapping[str, Directory],
    remarks: list[str],
    *,
    recovered: bool,
) -> Operation:
    """Write an operation into the history and forget its journal.

    Every change is on the disk by now. The journal goes last: until then all of this is repeated.
    """
    if outcome is Outcome.DONE:
        transaction = with_inodes(transaction, directories)
        remarks = [*remarks, *linker_cache.refresh(needed=transaction.ldconfig)]
    if outcome is Outcome.UNDONE:
        kept.remove(state.store, history.kept(state.directory).unneeded(transaction.kept))
    operation = history.find(state.directory, transaction.id) if recovered else None
    if operation is None:
        operation = Operation(transaction, outcome, time.time(), recovered, tuple(remarks))
        _record(state, operation)
    journal.end(state.directory)
    return operation


def _record(state: State, operation: Operation) -> None:
    try:
        history.record(state.directory, operation)
    except NoSpace:
        if operation.outcome is Outcome.DONE:
            raise
        # A disk too full to say that nothing happened: nothing happened all the same.


def with_inodes(transaction: Transaction, directories: Mapping[str, Directory]) -> Transaction:
    """The operation with the inodes that its new files have got.

    Their bytes are not read again: they were verified when they were staged, or found by recovery.
    """
    return replace(
        transaction,
        changes=tuple(
            replace(change, after=with_inode(directories[change.directory], change))
            if isinstance(change.after, File) and change.directory in directories
            else change
            for change in transaction.changes
        ),
    )


def with_inode(directory: Directory, change: Change) -> Content:
    """What a name stands for after its change, with the inode and the attributes that it has."""
    status = directory.lstat(change.name)
    if not isinstance(change.after, File) or status is None or not files.is_regular(status):
        return change.after
    descriptor = directory.open(change.name)
    try:
        attributes = Attributes.of(descriptor, change.path)
        return replace(change.after, attributes=attributes, inode=inode_of(descriptor))
    finally:
        os.close(descriptor)


@contextmanager
def _directories_that_remain(transaction: Transaction) -> Iterator[Mapping[str, Directory]]:
    """The directories of an operation that are still there.

    Their inodes are not compared: after a reboot btrfs, overlayfs and device mapper may number the
    same device differently. What is in them decides, by its bytes.
    """
    with ExitStack() as stack:
        found = {}
        for path in transaction.directories:
            with suppress(SystemRefused):
                found[path] = stack.enter_context(Directory(path))
        yield found


def _situation(
    change: Change, strategy: Strategy, directory: Directory | None, state: State
) -> Situation:
    staged = _observed(directory, change.stage)
    ready = isinstance(change.after, Nothing) or (staged is not None and same(staged, change.after))
    old = change.before
    can_keep = not isinstance(old, File) or (
        change.keep is not None and kept.holds(state.store, change.keep, old)
    )
    standing = _standing(change, _observed(directory, change.name))
    if standing is Standing.GONE and not (strategy is Strategy.UNLINK and (ready or can_keep)):
        standing = Standing.OTHER
    return Situation(change, standing, ready, can_keep)


def _standing(change: Change, found: Content | None) -> Standing:
    if found is None:
        return Standing.OTHER
    if same(found, change.after):
        return Standing.NEW
    if same(found, change.before):
        return Standing.OLD
    return Standing.GONE if isinstance(found, Nothing) else Standing.OTHER


def _observed(directory: Directory | None, name: str) -> Content | None:
    """What stands there; None for what is out of our hands."""
    if directory is None:
        return None
    try:
        return observe(directory, name)
    except NotReplaceable:
        return None


def _finish(
    found: list[Situation], transaction: Transaction, directories: Mapping[str, Directory]
) -> None:
    for situation in found:
        if situation.standing in (Standing.OLD, Standing.GONE):
            change = situation.change
            apply(change, transaction.strategy, directories[change.directory])


def _undo(found: list[Situation], directories: Mapping[str, Directory], state: State) -> None:
    for situation in reversed(found):
        if situation.standing in (Standing.NEW, Standing.GONE):
            change = situation.change
            undo(change, directories[change.directory], state.store)


def _clear_stages(transaction: Transaction, directories: Mapping[str, Directory]) -> None:
    """Leave nothing behind; the directories are synced in any case, for what was done before."""
    for change in transaction.changes:
        if change.directory in directories:
            directories[change.directory].unlink(change.stage)
    for directory in directories.values():
        directory.sync()


def recover_pending(state: State) -> Operation | None:
    """Settle what an earlier command left, if it left anything.

    Raises:
        JournalDamaged: what it left cannot be read.
        RecoveryStuck: it can be neither finished nor undone.
        LockHeld: another libswap changes names in one of its directories.
    """
    pending = journal.pending(state.directory)
    if pending is None:
        journal.end(state.directory)
        return None
    with (
        _directories_that_remain(pending.transaction) as directories,
        alone_in(directories.values(), state.wait),
    ):
        return settle(state, pending)
