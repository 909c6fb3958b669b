"""`libswap watch`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of

if TYPE_CHECKING:
    from libswap.watch.rule import Configuration

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
        str, typer.Option(help="For running processes: none, live or restart; without --config.")
    ] = "none",
    once: Annotated[
        bool, typer.Option("--once", help="Deploy what is finished, and end; for cron.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where too many failures have stopped it.")
    ] = False,
    dry_run: DryRun = False,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Deploy the libraries that appear in a directory: checked, recorded, reversible.

    A file that has settled is copied, verified and installed like `libswap install` does; then it
    lies in DROPDIR/deployed. What is refused, or was taken back, lies in DROPDIR/rejected beside a
    file that says why. While it runs, --json prints one line for each event.
    """
    from libswap.errors.base import UsageError

    reporter, settings = reporter_of(context), settings_of(state_dir)
    if dropdir == _STATUS:
        from libswap.operations.deployments import tell

        reporter.show("watch", tell(settings))
        return
    configuration = _configuration(dropdir, to, config, policy)
    from libswap.watch import entry

    if dry_run:
        reporter.show("watch", entry.preview(configuration, settings))
        return
    if not once:
        raise UsageError("only --once so far")
    done = entry.once(configuration, settings, lambda _: None, clear=resume)
    reporter.show("watch", done, exit_code=done.exit_code)
    raise typer.Exit(done.exit_code)


def _configuration(
    dropdir: str | None, to: Path | None, config: Path | None, policy: str
) -> "Configuration":
    from libswap.errors.base import UsageError
    from libswap.watch import configuration
    from libswap.watch.rule import Configuration, Policy, Rule

    if config is not None:
        if dropdir is not None or to is not None:
            raise UsageError("--config says what to watch; DROPDIR and --to say it too")
        return configuration.load(str(config))
    if dropdir is None or to is None:
        raise UsageError(
            "what is to be watched?", "libswap watch DROPDIR --to DIR, or --config FILE."
        )
    for path in (Path(dropdir), to):
        if not path.is_dir():
            raise UsageError(f"{path}: there is no such directory")
    known = [member.value for member in Policy]
    if policy not in known:
        raise UsageError(f"--policy {policy}: it can be {', '.join(known)}")
    rule = Rule(str(Path(dropdir).absolute()), str(to.absolute()), Policy(policy))
    return Configuration((rule,))
