"""`libswap check`."""

from typing import Annotated

import typer

from libswap.cli.options import Json
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of


def command(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="The library that is there.", show_default=False)],
    new: Annotated[str, typer.Argument(help="What would take its place.", show_default=False)],
    strict: Annotated[
        bool, typer.Option("--strict", help="Take warnings for incompatibilities.")
    ] = False,
    headers: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Where the public headers are: types declared elsewhere are left out.",
        ),
    ] = None,
    html: Html = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> int:
    """Say whether one library can stand in for another, on this machine, and what would break.

    Compares symbols, versions and the way both are loaded, looks for what the new library needs,
    and names the running programs that use what is gone. Types are compared where both have debug
    information and abidiff is installed. Exit code 0: it can; 38: it cannot.
    """
    from libswap.errors.install import Incompatible
    from libswap.operations.check import check
    from libswap.settings import Settings

    with paged(reporter_of(context), html, lambda: [old]) as reporter:
        result = check(old, new, Settings(), headers=headers)
        exit_code = 0 if result.verdict.acceptable(strict=strict) else Incompatible.exit_code
        reporter.show("check", result, exit_code=exit_code)
    return exit_code
