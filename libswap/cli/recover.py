"""`libswap recover`."""

from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Wait
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of


def command(
    context: typer.Context,
    discard: Annotated[
        bool,
        typer.Option(
            "--discard", help="Give up a journal that cannot be followed; it is moved aside."
        ),
    ] = False,
    dry_run: DryRun = False,
    wait: Wait = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Finish or undo what a crash interrupted; every other command does so by itself."""
    from libswap.operations import recover

    reporter, settings = reporter_of(context), settings_of(state_dir, wait=wait)
    if dry_run:
        found = recover.pending(settings)
        reporter.show("recover", recover.Recovered(None) if found is None else found)
    elif discard:
        reporter.show("recover", recover.discard(settings))
    else:
        reporter.show("recover", recover.carry_out(settings))
