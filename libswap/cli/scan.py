"""`libswap scan`."""

from typing import Annotated

import typer

from libswap.cli.options import Json, StateDir
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of


def command(
    context: typer.Context,
    libraries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LIB…]",
            help="Who maps these files: paths, or bare names such as libz.so.1.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")
    ] = 2.0,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Show which processes still run a replaced library, and what restarts them.

    With LIB: which processes have these files mapped, current or not. Changes nothing.
    """
    from libswap.operations import scan

    settings, reporter = settings_of(state_dir), reporter_of(context)

    def look() -> object:
        if libraries:
            return scan.scan_files(libraries, settings)
        return scan.scan_machine(settings)

    if not watch:
        reporter.show("scan", look())
        return
    import time

    try:
        while True:
            reporter.refresh("scan", look())
            time.sleep(interval)
    except KeyboardInterrupt:
        return
