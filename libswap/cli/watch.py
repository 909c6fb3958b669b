"""`libswap watch`."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from libswap.operations.deployments import Happening
    from libswap.settings import Settings
    from libswap.watch.rule import Configuration
    from libswap.watch.watcher import Watcher

_STATUS = "status"


def command(
    context: typer.Context,
    dropdir: Annotated[
        str | None,
        typer.Argument(
            metavar="[DROPDIR | status]",
            help="The directory to watch; or the word status, to see what was deployed.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where the libraries are that it replaces."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Watch what this file says, in TOML."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="For running processes: none, live or restart; without --config. [default: none]",
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Deploy what is finished, and end; for cron.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where too many failures have stopped it.")
    ] = False,
    dry_run: DryRun = False,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    """Deploy the libraries that appear in a directory: checked, recorded, reversible.

    A file that has settled is copied, verified and installed like `libswap install` does; then it
    lies in DROPDIR/deployed. What is refused, or was taken back, lies in DROPDIR/rejected beside a
    file that says why. While it runs, --json prints one line for each event.
    """
    from libswap.errors.base import UsageError

    reporter, settings = reporter_of(context), settings_of(state_dir)
    if dropdir == _STATUS:
        from libswap.operations.ledger import tell

        if any((to, config, policy, once, resume, dry_run)):
            raise UsageError(
                "status shows what was deployed, and goes with --state-dir and --json alone",
                "A directory of that name is ./status.",
            )
        reporter.show("watch", tell(settings))
        return
    if dry_run and not once:
        raise UsageError("--dry-run shows what a round would do", "Say --once --dry-run.")
    load = partial(_configuration, dropdir, to, config, policy)
    if not once:
        _serve(load, settings, clear=resume, as_json=as_json)
        return
    from libswap.watch import entry

    if dry_run:
        reporter.show("watch", entry.preview(load(), settings, clear=resume))
        return
    done = entry.once(load(), settings, _ignore, clear=resume)
    reporter.show("watch", done, exit_code=done.exit_code)
    raise typer.Exit(done.exit_code)


def _ignore(_: "Happening") -> None:
    """What happened is in the result."""


def _serve(
    load: "Callable[[], Configuration]", settings: "Settings", *, clear: bool, as_json: bool
) -> None:
    """Watch, and tell whoever started it in the way that suits him."""
    from libswap.linux.service_manager import logs_to_journal
    from libswap.report import happenings
    from libswap.watch import entry

    metrics = load().metrics
    listeners: list[Callable[[Happening], None]] = []
    after: list[Callable[[Watcher], None]] = []
    with ExitStack() as stack:
        if as_json:
            listeners.append(happenings.to_lines(lambda: sys.stdout))
        elif sys.stdout.isatty():
            screen = stack.enter_context(happenings.Screen())
            listeners.append(screen.tell)
            after.append(lambda watcher: screen.show_waiting(watcher.waiting()))
        elif logs_to_journal(2):
            listeners.append(happenings.to_journal)
        else:
            listeners.append(happenings.to_lines(lambda: sys.stderr))
        if metrics.textfile or metrics.port:
            from libswap.report.watch_metrics import WatchMetrics

            counted = WatchMetrics(metrics.textfile, metrics.port)
            listeners.append(counted.tell)
            after.append(lambda watcher: counted.write(watcher.waiting(), watcher.stopped()))

        def tell(happening: "Happening") -> None:
            for each in listeners:
                each(happening)

        entry.serve(load, settings, tell, tuple(after), clear=clear)


def _configuration(
    dropdir: str | None, to: Path | None, config: Path | None, policy: str | None
) -> "Configuration":
    from libswap.errors.base import UsageError
    from libswap.watch import configuration
    from libswap.watch.rule import Configuration, Policy, Rule

    if config is not None:
        if dropdir is not None or to is not None or policy is not None:
            raise UsageError(
                "--config says it all: neither DROPDIR, --to nor --policy goes with it"
            )
        return configuration.load(str(config))
    advice = "libswap watch DROPDIR --to DIR, or --config FILE."
    if dropdir is None:
        raise UsageError("what is to be watched?", advice)
    if to is None:
        raise UsageError(f"where are the libraries that {dropdir} is for? Say --to DIR", advice)
    for path in (Path(dropdir), to):
        if not path.is_dir():
            raise UsageError(f"{path}: there is no such directory")
    known = [member.value for member in Policy]
    if policy is not None and policy not in known:
        raise UsageError(f"--policy {policy}: it can be {', '.join(known)}")
    rule = Rule(_normal(Path(dropdir)), _normal(to), Policy(policy or "none"))
    return Configuration((rule,))


def _normal(path: Path) -> str:
    """An absolute path, links as they are: where they lead is asked whenever it is opened."""
    return os.path.normpath(path.absolute())
