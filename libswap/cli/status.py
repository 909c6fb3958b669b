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
    state_dir: StateDir = None,  # noqa: ARG001  the record lies in the process
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Show what has been swapped in running processes, from the record that each carries."""
    from libswap.operations.status import status

    reporter_of(context).show("status", status(pids or ()))
