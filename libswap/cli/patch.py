"""`libswap patch`: replace single functions of running processes."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from libswap.cli.options import DryRun, Json
from libswap.cli.session import reporter_of

app = typer.Typer(
    help="Replace single functions of running processes.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def build(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Objects (.o), or C or C++ files to compile."),
    ],
    target: Annotated[
        Path, typer.Option("--target", "-t", help="The program or library, not stripped.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The patch file. [default: the first FILE as .lsp]"),
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="OLD=NEW",
            help="Replace OLD (or OLD@file.c) by NEW. [default: what both define under one name]",
        ),
    ] = None,
    use: Annotated[
        list[str] | None,
        typer.Option(
            "--use",
            metavar="NAME=TARGET_NAME",
            help="What NAME in the patch stands for, where it could be several: name@file.c.",
        ),
    ] = None,
    library: Annotated[
        list[Path] | None,
        typer.Option("--library", "-l", help="Where to find what the target itself never uses."),
    ] = None,
    debug_file: Annotated[
        Path | None,
        typer.Option("--debug-file", help="The target's symbols. [default: by build id, or link]"),
    ] = None,
    cflags: Annotated[
        str, typer.Option("--cflags", help="More words for the compiler, as in a shell.")
    ] = "",
    description: Annotated[
        str, typer.Option("--description", "-d", help="What the patch is for.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Build it in spite of risks.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Link compiled code against a program or library into a patch file."""
    from libswap.operations import patch_build
    from libswap.patch.link import Wishes

    wishes = Wishes(description, _pairs(replace), _pairs(use), force)
    request = patch_build.Request(
        sources, target, output or Path(f"{sources[0].stem}.lsp"), wishes, shlex.split(cflags),
        debug_file, library or (), dry_run,
    )  # fmt: skip
    reporter_of(context).show("patch_show", patch_build.build(request))


@app.command()
def show(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="PATCH", help="A patch file (.lsp).")],
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Check a patch file and show what it does."""
    from libswap.operations import patch_show

    reporter_of(context).show("patch_show", patch_show.show(file))


def _pairs(words: list[str] | None) -> dict[str, str]:
    """OLD=NEW words as a mapping."""
    from libswap.errors import UsageError

    found = {}
    for word in words or ():
        old, equals, new = word.partition("=")
        if not (old and equals and new):
            raise UsageError(f"{word} is not of the form OLD=NEW")
        found[old] = new
    return found
