"""`libswap prune`."""

from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Wait
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of


def command(
    context: typer.Context,
    max_files: Annotated[
        int | None, typer.Option("--max-files", min=0, help="Keep this many files. [default: 200]")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", min=0, help="Keep this much. [default: 4 GiB]")
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Remove kept files over the limits, oldest first.

    What the next rollback of any file needs always stays.
    """
    from dataclasses import replace

    from libswap.operations import prune

    settings = settings_of(state_dir, wait=wait)
    if max_files is not None:
        settings = replace(settings, store_max_files=max_files)
    if max_bytes is not None:
        settings = replace(settings, store_max_bytes=max_bytes)
    done = prune.plan(settings) if dry_run else prune.carry_out(settings)
    reporter_of(context).show("prune", done)
