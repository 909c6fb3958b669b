"""Carry out one transaction: keep all, stage all, sync all, check all, then change every name."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from libswap.errors.base import LibswapError
from libswap.errors.install import Unfinished
from libswap.install import journal, recover
from libswap.install.exclusion import alone_in
from libswap.install.history import Operation, Outcome
from libswap.install.journal import Abort, Commit, Pending
from libswap.install.replace import apply, keep, open_directories, require_unchanged, stage
from libswap.install.state import State
from libswap.install.transaction import Transaction
from libswap.linux.files import Directory


def commit(transaction: Transaction, state: State) -> Operation:
    """Make every change, or none.

    After a crash (SIGKILL, power loss) at any point, each name stands for the whole old or the
    whole new, and `recover.settle` makes it the same for all of them:

    - before the commit mark is synced, nothing has been renamed; recovery removes the stages;
    - after it, everything new is on the disk; recovery makes the renames that are missing;
    - after the history is synced, recovery removes the journal.

    Args:
        transaction: what to do.
        state: the locked state directory, without a pending operation.

    Raises:
        LockHeld: another libswap changes names in one of the directories.
        LibswapError: the world refused; every name stands for the old again.
        Unfinished: the world also refused to put the old back, or to record the new; the next
            command tries again.
    """
    with (
        open_directories(transaction) as directories,
        alone_in(directories.values(), state.wait),
    ):
        _begin(transaction, state)
        try:
            remarks = _prepare(transaction, state, directories)
        except BaseException as error:
            _put_back(transaction, state, error)
            raise
        with _undisturbed():
            try:
                journal.mark(state.directory, Commit(transaction.id))
                # The point of no return: whatever happens from here on, recovery goes forward.
                _apply_all(transaction, directories)
            except LibswapError as error:
                with suppress(LibswapError):
                    journal.mark(state.directory, Abort(transaction.id))
                _put_back(transaction, state, error)
                raise
            try:
                return recover.close(
                    state, transaction, Outcome.DONE, directories, remarks, recovered=False
                )
            except LibswapError as error:
                raise Unfinished("made", error.message) from error


def _begin(transaction: Transaction, state: State) -> None:
    try:
        journal.begin(state.directory, transaction)
    except LibswapError:
        with suppress(LibswapError):
            journal.end(state.directory)
        raise


def _prepare(
    transaction: Transaction, state: State, directories: Mapping[str, Directory]
) -> list[str]:
    """Everything that can fail for want of space or rights, and the last look at each name."""
    changes = [(change, directories[change.directory]) for change in transaction.changes]
    ctimes = [keep(change, directory, state.store) for change, directory in changes]
    remarks = []
    for change, directory in changes:
        lost = stage(change, directory, state.store)
        remarks += [f"{change.path}: could not carry over {what}" for what in lost]
    for directory in directories.values():
        directory.sync()
    for (change, directory), ctime in zip(changes, ctimes, strict=True):
        require_unchanged(change, directory, ctime)
    return remarks


def _apply_all(transaction: Transaction, directories: Mapping[str, Directory]) -> None:
    for change in transaction.changes:
        apply(change, transaction.strategy, directories[change.directory])
    for directory in directories.values():
        directory.sync()


def _put_back(transaction: Transaction, state: State, error: BaseException) -> None:
    """What recovery would do after a crash, at once.

    Raises:
        Unfinished: it could not be done either; the journal stays for the next command.
    """
    try:
        recover.settle(state, Pending(transaction, committed=False))
    except LibswapError as second:
        raise Unfinished("undone", f"{error}; then: {second.message}") from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C and a polite end wait until the names are consistent."""
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
