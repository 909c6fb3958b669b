"""`libswap check`."""

from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.options import Json, StateDir
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of

if TYPE_CHECKING:
    from libswap.operations.check import Check


def command(
    context: typer.Context,
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The library that is there.", show_default=False)
    ],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="What would take its place.", show_default=False)
    ],
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
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Say too whether objects that the old library made survive a live swap.",
        ),
    ] = False,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> int:
    """Say whether one library can stand in for another, on this machine, and what would break.

    Compares symbols, versions and the way both are loaded, looks for what the new library needs,
    and names the running programs that use what is gone. Types are compared where both have debug
    information and abidiff is installed. Exit code 0: it can; 38: it cannot. With --live, where it
    can: 104: objects of running processes do not survive; 105: that is not known.
    """
    from libswap.errors.install import Incompatible
    from libswap.operations.check import check
    from libswap.settings import Settings, default_state_dir

    settings = Settings(state_dir=state_dir or default_state_dir())
    with paged(reporter_of(context), html, lambda: [old]) as reporter:
        result = check(old, new, settings, headers=headers, live=live)
        acceptable = result.verdict.acceptable(strict=strict)
        exit_code = _objects(result) if acceptable else Incompatible.exit_code
        reporter.show("check", result, exit_code=exit_code)
    return exit_code


def _objects(result: "Check") -> int:
    from libswap.errors.live import ObjectsUnknown, ObjectsUnsafe
    from libswap.operations.survival import Verdict

    if result.survival is None:
        return 0
    codes = {
        Verdict.UNSAFE: ObjectsUnsafe.exit_code, Verdict.UNKNOWN: ObjectsUnknown.exit_code
    }  # fmt: skip
    return codes.get(result.survival.verdict, 0)
