"""`libswap rollback`."""

from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Wait, Yes
from libswap.cli.session import reporter_of
from libswap.cli.state import recover_first, say_interrupted, settings_of


def command(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID | DEST]",
            help="An operation, or a file whose newest change is meant. [default: the newest]",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on though it has other hard links or is mounted on."),
    ] = False,
    untrusted_directory: Annotated[
        bool,
        typer.Option("--allow-untrusted-directory", help="As root: others may write there."),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Take an operation back, by the same safe road; a rollback can be rolled back too."""
    from libswap.errors.base import NotConfirmed
    from libswap.install.obstacles import Allowance
    from libswap.operations import rollback

    reporter, settings = reporter_of(context), settings_of(state_dir, wait=wait)
    allowance = Allowance(force=force, untrusted_directory=untrusted_directory)
    if dry_run:
        say_interrupted(reporter, settings)
        reporter.show("rollback", rollback.plan(what, settings, allowance))
        return
    recover_first(reporter, settings)
    plan = rollback.plan(what, settings, allowance)
    doubtful = what is None or plan.needs_consent
    if doubtful or plan.is_remarkable:
        reporter.announce("rollback", plan)
    if doubtful and not yes and not reporter.confirm("Go on?"):
        raise NotConfirmed("rollback")
    reporter.show("rollback", rollback.carry_out(plan, settings))
