"""`libswap handles`: what is known of libraries' objects."""

from pathlib import Path
from typing import Annotated

import typer

from libswap.cli.options import Json, words
from libswap.cli.session import reporter_of

app = typer.Typer(
    help="Descriptions of libraries' objects, for `libswap live --drain`.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_(
    context: typer.Context,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """List the descriptions of this machine, in the order in which they are asked."""
    from libswap.operations.handles import listed

    reporter_of(context).show("handles_list", listed())


@app.command()
def show(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A description, a SONAME, or a file (.toml).")
    ],
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Show what a description says of each function."""
    from libswap.operations.handles import shown

    reporter_of(context).show("handles_show", shown(name))


@app.command()
def draft(
    context: typer.Context,
    library: Annotated[
        Path,
        typer.Argument(metavar="LIB", help="A library; without --header one with debug symbols."),
    ],
    header: Annotated[
        list[Path] | None,
        typer.Option("--header", metavar="FILE", help="A header that declares its functions."),
    ] = None,
    cflags: Annotated[
        str, typer.Option("--cflags", help="More words for the compiler, as in a shell.")
    ] = "",
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Guess a first description of a library from headers or debug symbols; check all of it."""
    from libswap.operations.handles import drafted

    reporter_of(context).show(
        "handles_draft", drafted(library, header or (), words("--cflags", cflags))
    )
