"""`libswap install`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.live import (
    AcceptUnknown,
    Drain,
    DrainLimit,
    Handles,
    Rehearse,
    Relaxed,
    StateMode,
    Then,
    ThenWhat,
    Unload,
    drain_options,
)
from libswap.cli.options import DryRun, Json, StateDir, Yes, command_of
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of
from libswap.cli.state import recover_first, say_interrupted, settings_of

if TYPE_CHECKING:
    from libswap.operations.install import Request
    from libswap.operations.install_live import Live
    from libswap.report.reporter import Reporter
    from libswap.settings import Settings

_SAFE_MOMENT = 5.0


def command(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="NEW DEST | --into DIR NEW...",
            help="The new library, and what it replaces or where it goes.",
            show_default=False,
        ),
    ],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Install all of them into DIR.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="rename (the name always stands for a whole file) or unlink (the name is gone "
            "for a moment; for file systems where a rename over a file does not do).",
        ),
    ] = "rename",
    no_dereference: Annotated[
        bool,
        typer.Option("--no-dereference", help="Replace a link itself, not what it leads to."),
    ] = False,
    no_ldconfig: Annotated[
        bool, typer.Option("--no-ldconfig", help="Do not run ldconfig, even where it is needed.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Go on though the new library is incompatible, the old has other hard links or "
            "is no library, or another mount namespace has something mounted on it.",
        ),
    ] = False,
    untrusted_source: Annotated[
        bool,
        typer.Option("--allow-untrusted-source", help="As root: others may write to NEW."),
    ] = False,
    untrusted_directory: Annotated[
        bool,
        typer.Option("--allow-untrusted-directory", help="As root: others may write there."),
    ] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Then move the processes that run the old library onto the new one."
        ),
    ] = False,
    relaxed: Relaxed = False,
    rehearse: Rehearse = False,
    unload: Unload = False,
    drain: Drain = False,
    handles: Handles = None,
    limit: DrainLimit = None,
    then: ThenWhat = Then.KEEP,
    accept_unknown: AcceptUnknown = False,
    state: Annotated[
        StateMode, typer.Option(help="With --live: as of libswap live.")
    ] = StateMode.AUTO,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="CMD",
            help="With --live: run after each process (LIBSWAP_PID is set); if it fails, all"
            " processes are moved back and the files are rolled back.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            min=0,
            metavar="SECONDS",
            help="How long to wait for another libswap, and with --live for a safe moment in each"
            " process. [default: 30, and 5]",
        ),
    ] = None,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Replace a library, or add one, safely and so that it can be taken back.

    DEST is a library, a link to one, a directory, or a name that is still free. Programs that have
    the old library loaded keep it until they are restarted. Several libraries change together, all
    of them or none.
    """
    from libswap.errors.base import UsageError
    from libswap.install.obstacles import Allowance
    from libswap.live.outlook import Options
    from libswap.operations import install
    from libswap.operations.install_live import Live

    of_live = (relaxed, accept_unknown, rehearse, unload, drain, state is not StateMode.AUTO)
    if not live and (any(of_live) or check is not None):
        raise UsageError(
            "--relaxed, --accept-unknown, --rehearse, --unload, --drain, --state and --check belong"
            " to --live"
        )
    settings = settings_of(state_dir, wait=wait)
    sources, destination = install.sources_and_destination(paths, into)
    request = install.Request(
        sources=sources,
        destination=destination,
        strategy=install.strategy_of(strategy),
        dereference=not no_dereference,
        ldconfig=not no_ldconfig,
        allowance=Allowance(
            force=force, untrusted_source=untrusted_source, untrusted_directory=untrusted_directory
        ),
    )
    options = Options(
        state=state.value,
        relaxed=relaxed,
        force=force,
        accept_unknown=accept_unknown,
        wait=_SAFE_MOMENT if wait is None else wait,
    )
    how = Live(
        options, command_of("--check", check), rehearse=rehearse, unload=unload,
        drain=drain_options(drain, handles, limit, then, rehearse=rehearse),
    )  # fmt: skip
    with paged(reporter_of(context), html) as reporter:
        if live:
            _install_live(reporter, request, settings, how, dry_run=dry_run, yes=yes)
        else:
            _install(reporter, request, settings, dry_run=dry_run, yes=yes)


def _install(
    reporter: "Reporter", request: "Request", settings: "Settings", *, dry_run: bool, yes: bool
) -> None:
    from libswap.errors.base import NotConfirmed
    from libswap.operations import install

    if dry_run:
        say_interrupted(reporter, settings)
        reporter.show("install", install.plan(request, settings))
        return
    recover_first(reporter, settings)
    plan = install.plan(request, settings)
    if plan.is_remarkable:
        reporter.announce("install", plan)
    if plan.needs_consent and not yes and not reporter.confirm("Go on?"):
        raise NotConfirmed("install")
    reporter.show("install", install.carry_out(plan, settings))


def _install_live(
    reporter: "Reporter", request: "Request", settings: "Settings", live: "Live", *,
    dry_run: bool, yes: bool,
) -> None:  # fmt: skip
    from libswap.errors.base import NotConfirmed
    from libswap.operations import install_live

    if dry_run:
        say_interrupted(reporter, settings)
        reporter.show("install_live", install_live.plan(request, settings, live))
        return
    recover_first(reporter, settings)
    plan = install_live.plan(request, settings, live)
    reporter.announce("install_live", plan)
    if plan.plan.needs_consent and not yes and not reporter.confirm("Go on?"):
        raise NotConfirmed("install")
    done = install_live.carry_out(
        plan, settings, live, request.allowance,
        lambda pid, step: reporter.progress(f"process {pid}: {step}"),
    )  # fmt: skip
    reporter.show("install_live", done, exit_code=done.exit_code)
    raise typer.Exit(done.exit_code)
