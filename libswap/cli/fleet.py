"""`libswap fleet`: upgrade a library on many machines, by Ansible."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Yes, command_of
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from libswap.fleet.rollout import Machine, Rollout
    from libswap.report.reporter import Reporter

Id = Annotated[str, typer.Argument(metavar="ID", help="As libswap fleet status shows it.")]

app = typer.Typer(
    help="Upgrade a library on many machines, by Ansible.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def install(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="NEW", help="The new library, here.")],
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="What it replaces on the machines.")
    ],
    inventory: Annotated[
        list[str], typer.Option("--inventory", "-i", help="An inventory of Ansible.")
    ],
    limit: Annotated[
        str, typer.Option("--limit", "-l", help="Only machines that match this pattern.")
    ] = "",
    canary: Annotated[
        list[str] | None,
        typer.Option("--canary", help="This machine first and alone; may be repeated."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="Sizes of the batches, numbers or percentages.")
    ] = "1,10%,50%,100%",
    most_failures: Annotated[
        int,
        typer.Option(
            "--max-fail",
            min=0,
            max=99,
            metavar="PERCENT",
            help="How much of a batch may fail before all are taken back.",
        ),
    ] = 0,
    live: Annotated[
        bool, typer.Option("--live", help="Move running processes onto the new library.")
    ] = False,
    health: Annotated[
        str | None,
        typer.Option("--health", metavar="CMD", help="Must succeed on each machine after it."),
    ] = None,
    batch_health: Annotated[
        str | None,
        typer.Option("--batch-health", metavar="CMD", help="Must succeed here after a batch."),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often --health is tried again.")
    ] = 3,
    delay: Annotated[
        int, typer.Option(min=0, metavar="SECONDS", help="Time between two tries.")
    ] = 5,
    skip_unready: Annotated[
        bool,
        typer.Option("--skip-unready", help="Leave out machines that cannot be upgraded."),
    ] = False,
    become: Annotated[
        bool, typer.Option(help="Become root on the machines, as Ansible does.")
    ] = True,
    keep_tool: Annotated[
        bool,
        typer.Option(
            help="Leave the libswap that was brought on the machines; else each task"
            " brings it anew."
        ),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="As of libswap install.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Replace a library on many machines, batch after batch, and take it back where one fails.

    First every machine is looked at: what would be changed, and who uses the library there.
    """
    from libswap.errors.base import NotConfirmed
    from libswap.operations import fleet

    request = fleet.request(
        source, destination, inventory, limit=limit, canaries=tuple(canary or ()),
        batches=fleet.batches(batches), most_failures=most_failures, live=live, force=force,
        health=command_of("--health", health),
        batch_health=command_of("--batch-health", batch_health),
        retries=retries, delay=delay, become=become, keep_tool=keep_tool,
    )  # fmt: skip
    with paged(reporter_of(context), html) as reporter:
        plan = fleet.plan(request, skip_unready=skip_unready)
        if dry_run:
            reporter.show("fleet", plan)
            return
        reporter.announce("fleet", plan)
        if not yes and not reporter.confirm("Go on?"):
            raise NotConfirmed("fleet install")
        _end(reporter, fleet.carry_out(plan, settings_of(state_dir), _told(reporter)))


@app.command()
def resume(
    context: typer.Context,
    rollout: Id,
    dry_run: DryRun = False,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Go on with an upgrade that was interrupted."""
    from libswap.operations import fleet

    settings = settings_of(state_dir)
    with paged(reporter_of(context), html) as reporter:
        if dry_run:
            reporter.show("fleet", fleet.left(rollout, settings))
        else:
            _end(reporter, fleet.resume(rollout, settings, _told(reporter)))


@app.command()
def rollback(
    context: typer.Context,
    rollout: Id,
    dry_run: DryRun = False,
    yes: Yes = False,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Put the old library back on every machine of an upgrade."""
    from libswap.errors.base import NotConfirmed
    from libswap.fleet.rollout import Stage
    from libswap.operations import fleet

    settings = settings_of(state_dir)
    with paged(reporter_of(context), html) as reporter:
        left = fleet.left(rollout, settings)
        if dry_run:
            reporter.show("fleet", left)
            return
        if left.take_back and not yes:
            reporter.announce("fleet", left)
            if not reporter.confirm("Go on?"):
                raise NotConfirmed("fleet rollback")
        done = fleet.take_back(rollout, settings, _told(reporter))
        _end(reporter, done, 0 if done.stage is Stage.TAKEN_BACK else done.exit_code)


@app.command()
def status(
    context: typer.Context,
    rollout: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="[default: all]", show_default=False)
    ] = None,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Show upgrades of many machines, and what became of each machine."""
    from libswap.operations import fleet

    with paged(reporter_of(context), html) as reporter:
        reporter.show("fleet", fleet.status(rollout, settings_of(state_dir)))


@app.command()
def bundle(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="FILE", help="Where it is written.")],
    dry_run: DryRun = False,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Write libswap and what it needs into one file, which any Python 3.11 runs."""
    from libswap.operations import fleet

    reporter_of(context).show("fleet", fleet.write_bundle(output, dry_run=dry_run))


def _end(reporter: "Reporter", done: "Rollout", exit_code: int | None = None) -> None:
    """Show what has become of an upgrade; the exit code is its own, if no other is given."""
    from libswap.operations.fleet import Rollouts

    code = done.exit_code if exit_code is None else exit_code
    reporter.show("fleet", Rollouts((done,)), exit_code=code)
    raise typer.Exit(code)


def _told(reporter: "Reporter") -> "Callable[[Machine], None]":
    """Tell what becomes of each machine, while it does."""

    def tell(machine: "Machine") -> None:
        from libswap.report.views.fleet import line

        reporter.note(line(machine))

    return tell
