"""`libswap revert`."""

from typing import Annotated

import typer

from libswap.cli.live import Force, Relaxed, SafeMoment
from libswap.cli.options import DryRun, Json, StateDir
from libswap.cli.session import reporter_of


def command(
    context: typer.Context,
    pids: Annotated[
        list[int],
        typer.Argument(metavar="PID...", help="Processes to move back.", show_default=False),
    ],
    swap: Annotated[
        str, typer.Option("--id", help="The swap to take back. [default: the last]")
    ] = "",
    wait: SafeMoment = 5.0,
    relaxed: Relaxed = False,
    force: Force = False,
    dry_run: DryRun = False,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Move running processes back to the library that they used before.

    Needs no file: the old copy is still there. Data that changed since goes back with them.
    """
    from libswap.live.outlook import Options
    from libswap.operations.revert import revert
    from libswap.settings import default_state_dir

    reporter = reporter_of(context)
    options = Options(relaxed=relaxed, force=force, wait=wait)
    report = revert(
        pids, swap, options, dry_run=dry_run, state_dir=state_dir or default_state_dir()
    )
    reporter.show("revert", report, exit_code=report.exit_code)
    raise typer.Exit(report.exit_code)
