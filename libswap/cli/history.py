"""`libswap history`."""

from typing import Annotated

import typer

from libswap.cli.options import Json, StateDir
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of


def command(
    context: typer.Context,
    path: Annotated[
        str | None,
        typer.Argument(metavar="[DEST]", help="Only what changed this file.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-l", min=1, metavar="N", help="How many, newest first."),
    ] = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """List what was installed and rolled back: who, when, what, and how it ended."""
    from libswap.operations import history

    told = history.tell(settings_of(state_dir), path, limit)
    reporter_of(context).show("history", told)
