"""`libswap status`."""

from typing import Annotated

import typer

from libswap.cli.options import Json, StateDir
from libswap.cli.session import reporter_of


def command(
    context: typer.Context,
    pids: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[PID...]",
            help="Processes. [default: all that carry a record]",
            show_default=False,
        ),
    ] = None,
    settle: Annotated[
        bool,
        typer.Option(
            "--settle",
            help="First finish what a libswap that was killed has left: a swap that was broken "
            "off, and calls that take a longer way since; and end drains whose last old object is "
            "gone.",
        ),
    ] = False,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Show what has been swapped in running processes, from the record that each carries."""
    from libswap.errors.live import NotAllMoved
    from libswap.operations.status import status
    from libswap.operations.unfinished import finish
    from libswap.settings import default_state_dir

    reporter = reporter_of(context)
    if not settle:
        reporter.show("status", status(pids or ()))
        return
    found = finish(pids or (), state_dir=state_dir or default_state_dir())
    code = NotAllMoved.exit_code if any(p.trouble for p in found.processes) else 0
    reporter.show("status", found, exit_code=code)
    raise typer.Exit(code)
