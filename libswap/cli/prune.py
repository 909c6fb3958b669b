"""`libswap prune`."""

from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Wait, Yes
from libswap.cli.session import reporter_of
from libswap.cli.state import recover_first, say_interrupted, settings_of


def command(
    context: typer.Context,
    max_files: Annotated[
        int | None,
        typer.Option(
            "--max-files", min=0, metavar="N", help="Keep this many files. [default: 200]"
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            "--max-bytes", min=0, metavar="BYTES", help="Keep this much. [default: 4 GiB]"
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Remove old versions beside newer ones, and kept files over the limits.

    An old version goes when no link leads to it, no process has it loaded and no package owns it;
    libswap rollback brings it back. Of the kept files the oldest go first, and what the next
    rollback of any file needs always stays.
    """
    from dataclasses import replace

    from libswap.errors.base import NotConfirmed
    from libswap.operations import prune

    reporter = reporter_of(context)
    settings = settings_of(state_dir, wait=wait)
    if max_files is not None:
        settings = replace(settings, store_max_files=max_files)
    if max_bytes is not None:
        settings = replace(settings, store_max_bytes=max_bytes)
    if dry_run:
        say_interrupted(reporter, settings)
        reporter.show("prune", prune.plan(settings))
        return
    recover_first(reporter, settings)
    plan = prune.plan(settings)
    if plan.versions is not None and not yes:
        reporter.announce("prune", plan)
        if not reporter.confirm("Go on?"):
            raise NotConfirmed("prune")
    reporter.show("prune", prune.carry_out(plan, settings))
