"""Take an operation back: every name stands again for what it did before."""

import os
import time
from dataclasses import dataclass, replace

from libswap.errors.install import KeptFileDamaged, NothingToRollBack
from libswap.install import history, notices, packages
from libswap.install import plan as planning
from libswap.install import store as kept
from libswap.install.commit import commit
from libswap.install.content import File, Link, keep_name, observe, same
from libswap.install.history import History, Operation
from libswap.install.notices import Notice
from libswap.install.obstacles import Allowance, Asker, obstacles
from libswap.install.recover import recover_pending
from libswap.install.state import State, locked, opened
from libswap.install.survey import Survey, survey
from libswap.install.target import Target, real
from libswap.install.transaction import Caller, Change, Kind, Strategy, Transaction, new_id
from libswap.linux import mounts
from libswap.linux.files import Directory, FileId
from libswap.operations import prune
from libswap.operations.install import affected, needs_ldconfig
from libswap.scan.usage import Usage, users_of
from libswap.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done.

    Attributes:
        transaction: the changes.
        operation: what they take back.
        usage: who runs on the files that will be replaced, and will until it is restarted.
        notices: what one should know before.
    """

    transaction: Transaction
    operation: Operation
    usage: Usage
    notices: tuple[Notice, ...]

    @property
    def is_remarkable(self) -> bool:
        """Whether a person should see it before it is done."""
        return self.needs_consent or bool(self.usage.users)

    @property
    def needs_consent(self) -> bool:
        """Whether a person should agree before it is done."""
        return bool(self.notices)


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What was done.

    Attributes:
        plan: what had been planned.
        operation: how it ended.
    """

    plan: Plan
    operation: Operation


def plan(
    what: str | None, settings: Settings, allowance: Allowance, strategy: Strategy = Strategy.RENAME
) -> Plan:
    """Decide how to take an operation back; nothing is changed.

    Args:
        what: an operation's id, or a path whose newest change is meant; None for the newest of all.
        settings: where the state lies.
        allowance: what the caller takes upon himself.
        strategy: how names are changed.

    Raises:
        NothingToRollBack: there is no such operation, or the files have changed since.
        KeptFileDamaged: an old file is not in the store any more.
        LibswapError: something forbids it.
    """
    with opened(settings.state_dir) as state:
        if state is None:
            raise NothingToRollBack(what or "anything", "there is no history")
        known = history.load(state.directory)
        operation = _find(known, what)
        now = time.time()
        operation_id = new_id(now)
        changes = [_inverse(c, operation, known, state) for c in operation.transaction.changes]
        surveys = _surveys(changes, state)
        for found in surveys:
            planning.first(obstacles(found, Asker.current(), allowance))
    transaction = Transaction(
        operation_id,
        Kind.ROLLBACK,
        now,
        Caller.current(),
        strategy,
        planning.numbered(reversed(changes), operation_id),
        undoes=operation.transaction.id,
    )
    usage = users_of([change.path for change in changes if isinstance(change.before, File)])
    owners = packages.owners(c.path for c in changes if isinstance(c.before, File))
    return Plan(
        replace(transaction, ldconfig=needs_ldconfig(transaction), affected=affected(usage)),
        operation,
        usage,
        tuple(notices.notices(surveys, owners, os.geteuid())),
    )


def carry_out(decided: Plan, settings: Settings) -> RolledBack:
    """Do what was planned, all of it or nothing.

    Raises:
        LibswapError: something stopped it; every name stands for what it did before.
    """
    with locked(settings.state_dir, settings.lock_wait, "rollback") as state:
        recover_pending(state)
        operation = commit(decided.transaction, state)
        prune.keep_within_limits(state, settings)
    return RolledBack(decided, operation)


def _find(known: History, what: str | None) -> Operation:
    if what is None:
        if not known.done:
            raise NothingToRollBack("anything", "nothing has been done yet")
        return known.done[-1]
    named = known.find(what)
    if named is not None:
        if named.outcome is history.Outcome.UNDONE:
            raise NothingToRollBack(what, "that operation was undone when it failed")
        return named
    found = known.last_of(what) or known.last_of(real(what))
    if found is None:
        raise NothingToRollBack(what, "no operation has this id or changed this file")
    return found


def _inverse(change: Change, operation: Operation, known: History, state: State) -> Change:
    """The change that takes `change` back, from what its name stands for now."""
    with Directory(change.directory) as directory:
        now = observe(directory, change.name)
        if not same(now, change.after):
            later = known.last_of(change.path)
            by = "by something else than libswap"
            if later is not None and later.transaction.id != operation.transaction.id:
                by = f"by operation {later.transaction.id}; roll that back first"
            what = operation.transaction.id
            raise NothingToRollBack(what, f"{change.path} has been changed since, {by}")
        directory_id = FileId.of(directory.status)
        _require_target(change, directory, operation)
    _require_kept(change, state)
    return Change(
        change.directory,
        directory_id,
        change.name,
        now,
        change.before,
        change.keep,
        "",
        keep_name(now),
    )


def _require_target(change: Change, directory: Directory, operation: Operation) -> None:
    """A link is not turned back to a file that is gone (libswap prune removes old versions)."""
    match change.before:
        case Link(text) if "/" not in text and directory.lstat(text) is None:
            if not any(c.name == text for c in operation.transaction.changes):
                what, path = operation.transaction.id, directory.join(text)
                raise NothingToRollBack(
                    what, f"{path} is gone; if libswap pruned it, roll that back"
                )
        case _:
            pass


def _require_kept(change: Change, state: State) -> None:
    if not isinstance(change.before, File) or change.keep is None:
        return
    if not kept.holds(state.store, change.keep, change.before):
        where = state.store.join(change.keep)
        raise KeptFileDamaged(where, "it is gone from the store, or was altered there")


def _surveys(changes: list[Change], state: State) -> list[Survey]:
    ours, others = mounts.own(), mounts.others()
    return [survey(Target(c.directory, c.name), state.store, ours, others) for c in changes]
