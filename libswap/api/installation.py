"""Change files: install, roll back, and keep the state of both in order."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from libswap.api.libraries import AnyPath
from libswap.errors.base import NotConfirmed, UsageError
from libswap.install.obstacles import Allowance
from libswap.install.transaction import Strategy
from libswap.live.outlook import Options
from libswap.operations import history as telling
from libswap.operations import install as installing
from libswap.operations import install_live as moving
from libswap.operations import prune as pruning
from libswap.operations import recover as recovering
from libswap.operations import rollback as rolling
from libswap.operations.draining import DrainOptions
from libswap.operations.history import Told
from libswap.operations.install import Installed, Plan
from libswap.operations.install_live import Live, LiveInstalled
from libswap.operations.prune import Pruned
from libswap.operations.recover import Recovered
from libswap.operations.rollback import RolledBack
from libswap.operations.swap import Progress
from libswap.settings import Settings

NOTHING: Final = Allowance()


def plan_install(
    source: AnyPath | Sequence[AnyPath],
    destination: AnyPath,
    *,
    allow: Allowance = NOTHING,
    strategy: Strategy = Strategy.RENAME,
    settings: Settings | None = None,
) -> Plan:
    """What `install_library` would do, who is affected, and what one should know; changes nothing.

    Args:
        source: the new library, or several that change together.
        destination: a library, a link to one, a free name, or a directory; of several a directory.
        allow: what the caller takes upon himself, as the command's --force and --allow-… do.
        strategy: how the new takes the place of the old.
        settings: where the state lies.

    Raises:
        LibswapError: something forbids it; each class is in the table of exit codes.
    """
    return installing.plan(_request(source, destination, allow, strategy), settings or Settings())


def install_library(
    source: AnyPath | Sequence[AnyPath],
    destination: AnyPath,
    *,
    yes: bool = False,
    allow: Allowance = NOTHING,
    strategy: Strategy = Strategy.RENAME,
    settings: Settings | None = None,
) -> Installed:
    """Replace libraries, or add new ones: all of them or none, and so that it can be taken back.

    Args:
        source: the new library, or several that change together.
        destination: a library, a link to one, a free name, or a directory; of several a directory.
        yes: go on where a person would be asked: the plan's `needs_consent`.
        allow: what the caller takes upon himself, as the command's --force and --allow-… do.
        strategy: how the new takes the place of the old.
        settings: where the state lies.

    Returns:
        What was done; `operation` is None where the files hold these bytes already.

    Raises:
        LibswapError: nothing was changed: the reason, or NotConfirmed without `yes`.
    """
    chosen = _settled(settings)
    plan = plan_install(source, destination, allow=allow, strategy=strategy, settings=chosen)
    _require_consent("install", needed=plan.needs_consent, given=yes)
    return installing.carry_out(plan, chosen)


def install_and_swap(
    source: AnyPath | Sequence[AnyPath],
    destination: AnyPath,
    *,
    yes: bool = False,
    allow: Allowance = NOTHING,
    check: Sequence[str] = (),
    options: Options | None = None,
    drain: DrainOptions | None = None,
    progress: Progress = lambda *_: None,
    settings: Settings | None = None,
) -> LiveInstalled:
    """Replace libraries, then move the processes that run the replaced files onto the new ones.

    Args:
        source: the new library, or several that change together.
        destination: a library, a link to one, a free name, or a directory; of several a directory.
        yes: go on where a person would be asked: the plan's `needs_consent`.
        allow: what the caller takes upon himself.
        check: a command to run after each process (LIBSWAP_PID is set); where it fails, files and
            processes are taken back.
        options: how processes are moved.
        drain: leave old objects to the old code, as `drain` does, and how; None to move them all.
        progress: is told of a process and of the step that begins for it.
        settings: where the state lies.

    Raises:
        LibswapError: the installation was stopped; nothing was changed.
    """
    chosen = _settled(settings)
    live = Live(options=options or Options(), check=tuple(check), drain=drain)
    request = _request(source, destination, allow, Strategy.RENAME)
    plan = moving.plan(request, chosen, live)
    _require_consent("install", needed=plan.plan.needs_consent, given=yes)
    return moving.carry_out(plan, chosen, live, allow, progress)


def rollback(
    what: AnyPath | None = None,
    *,
    yes: bool = False,
    allow: Allowance = NOTHING,
    settings: Settings | None = None,
) -> RolledBack:
    """Take an operation back; a rollback can be rolled back too.

    Args:
        what: an operation's id, or a file whose newest change is meant; None for the newest of all.
        yes: go on where a person would be asked: the plan's `needs_consent`.
        allow: what the caller takes upon himself.
        settings: where the state lies.

    Raises:
        LibswapError: nothing was changed: the reason, or NotConfirmed without `yes`.
    """
    chosen = _settled(settings)
    plan = rolling.plan(None if what is None else os.fspath(what), chosen, allow)
    _require_consent("rollback", needed=plan.needs_consent, given=yes)
    return rolling.carry_out(plan, chosen)


def history(
    path: AnyPath | None = None, *, limit: int | None = None, settings: Settings | None = None
) -> Told:
    """What was installed and rolled back, newest first.

    Args:
        path: only what changed this file.
        limit: how many at most.
        settings: where the state lies.
    """
    return telling.tell(settings or Settings(), None if path is None else os.fspath(path), limit)


def recover(*, discard: bool = False, settings: Settings | None = None) -> Recovered:
    """Finish or undo what a crash interrupted; what changes files does so by itself.

    Args:
        discard: give up a journal that cannot be followed; it is moved aside.
        settings: where the state lies.

    Raises:
        LibswapError: it can be neither finished nor undone (RecoveryStuck, JournalDamaged).
    """
    act = recovering.discard if discard else recovering.carry_out
    return act(settings or Settings())


def prune(*, dry_run: bool = False, settings: Settings | None = None) -> Pruned:
    """Remove old versions beside newer ones, and kept files over the limits of the settings.

    Args:
        dry_run: only say what would go: the result's `plan`.
        settings: where the state lies, and how much of it is kept.

    Raises:
        LibswapError: something stopped it.
    """
    chosen = (settings or Settings()) if dry_run else _settled(settings)
    plan = pruning.plan(chosen)
    return Pruned(plan, None) if dry_run else pruning.carry_out(plan, chosen)


def _settled(settings: Settings | None) -> Settings:
    """The settings; what was interrupted there is brought to its end before anything is planned."""
    chosen = settings or Settings()
    if recovering.pending(chosen) is not None:
        recovering.carry_out(chosen)
    return chosen


def _require_consent(command: str, *, needed: bool, given: bool) -> None:
    if needed and not given:
        raise NotConfirmed(command)


def _request(
    source: AnyPath | Sequence[AnyPath], destination: AnyPath, allow: Allowance, strategy: Strategy
) -> installing.Request:
    if isinstance(source, str | os.PathLike):
        words, into = [os.fspath(source), os.fspath(destination)], None
    else:
        words, into = [os.fspath(one) for one in source], Path(destination)
    if not words:
        raise UsageError("no library is named that is to be installed")
    sources, place = installing.sources_and_destination(words, into)
    return installing.Request(
        sources=sources, destination=place, strategy=strategy, allowance=allow
    )
