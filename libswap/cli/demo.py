"""`libswap demo`."""

import typer

from libswap.cli.options import Json
from libswap.cli.session import reporter_of


def command(context: typer.Context, as_json: Json = False) -> None:  # noqa: ARG001  the session's
    """Show what replacing a library does to the processes that use it.

    Builds a small library and programs with a C compiler, in a temporary directory, and tries
    every way on a process of its own. Nothing else on the machine is touched.
    """
    from libswap.operations.demo import demonstrate

    reporter = reporter_of(context)
    reporter.show("demo", demonstrate())
