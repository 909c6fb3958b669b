"""`libswap install`."""

from pathlib import Path
from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, Wait, Yes
from libswap.cli.session import reporter_of
from libswap.cli.state import recover_first, settings_of


def command(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE DEST | --into DIR SOURCE...",
            help="The new library, and what it replaces or where it goes.",
            show_default=False,
        ),
    ],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Install all sources into DIR.")
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
        typer.Option("--allow-untrusted-source", help="As root: others may write to SOURCE."),
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
    """Replace a library, or add one, safely and so that it can be taken back.

    DEST is a library, a link to one, a directory, or a name that is still free. Programs that have
    the old library loaded keep it until they are restarted. Several libraries change together, all
    of them or none.
    """
    from libswap.errors import NotConfirmed
    from libswap.install.obstacles import Allowance
    from libswap.operations import install

    reporter, settings = reporter_of(context), settings_of(state_dir, wait=wait)
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
    if dry_run:
        reporter.show("install", install.plan(request, settings))
        return
    recover_first(reporter, settings)
    plan = install.plan(request, settings)
    if plan.is_remarkable:
        reporter.announce("install", plan)
    if plan.needs_consent and not yes and not reporter.confirm("Go on?"):
        raise NotConfirmed("install")
    reporter.show("install", install.carry_out(plan, settings))
