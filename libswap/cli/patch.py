"""`libswap patch`: replace single functions of running processes."""

from pathlib import Path
from typing import Annotated

import typer

from libswap.cli.live import Relaxed, SafeMoment
from libswap.cli.options import DryRun, Json, words
from libswap.cli.session import reporter_of

Pids = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="[PID...]", help="Processes. [default: all that are patched]", show_default=False
    ),
]

app = typer.Typer(
    help="Replace single functions of running processes.",
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
        sources, target, output or Path(f"{sources[0].stem}.lsp"), wishes,
        words("--cflags", cflags), debug_file, library or (), dry_run,
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


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="PATCH", help="A patch file (.lsp).")],
    pid: Annotated[
        list[int] | None, typer.Option("--pid", help="This process; may be repeated.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Every process that runs the patch's target.")
    ] = False,
    exe: Annotated[
        Path | None, typer.Option("--exe", help="Every process that runs this program.")
    ] = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take the place of patches of the same functions, at once."),
    ] = False,
    wait: SafeMoment = 5.0,
    relaxed: Relaxed = False,
    dry_run: DryRun = False,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Change running processes: at once, without a restart, and so that it can be taken back."""
    from libswap.errors.base import UsageError
    from libswap.operations import patch_apply
    from libswap.operations.patch_entries import Options
    from libswap.settings import default_state_dir

    if bool(pid) + everyone + bool(exe) != 1:
        raise UsageError("Say one of --pid PID, --all and --exe PROGRAM")
    options = Options(wait=wait, relaxed=relaxed, replace=replace, dry_run=dry_run)
    report = patch_apply.apply(
        file, options, pids=pid or (), program=exe, state_dir=default_state_dir()
    )
    reporter_of(context).show("patch_apply", report, exit_code=report.exit_code)
    raise typer.Exit(report.exit_code)


@app.command()
def revert(
    context: typer.Context,
    pids: Annotated[
        list[int],
        typer.Argument(metavar="PID...", help="Processes to give back.", show_default=False),
    ],
    patch: Annotated[
        str, typer.Option("--id", help="Which one: an id, or a checksum. [default: the last]")
    ] = "",
    wait: SafeMoment = 5.0,
    relaxed: Relaxed = False,
    dry_run: DryRun = False,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Give functions back what they were before a patch."""
    from libswap.operations import patch_revert
    from libswap.operations.patch_entries import Options
    from libswap.settings import default_state_dir

    options = Options(wait=wait, relaxed=relaxed, dry_run=dry_run)
    report = patch_revert.revert(pids, patch, options, state_dir=default_state_dir())
    reporter_of(context).show("patch_apply", report, exit_code=report.exit_code)
    raise typer.Exit(report.exit_code)


@app.command("list")
def list_(
    context: typer.Context,
    pids: Pids = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """List the patches in force."""
    from libswap.operations import patch_status

    reporter_of(context).show("patch_status", patch_status.status(pids or (), active=True))


@app.command()
def status(
    context: typer.Context,
    pids: Pids = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """List every patch that was ever applied, and what is unfinished."""
    from libswap.operations import patch_status

    reporter_of(context).show("patch_status", patch_status.status(pids or ()))


@app.command()
def verify(
    context: typer.Context,
    pids: Pids = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Compare the patches in memory with what was applied."""
    from libswap.operations import patch_status

    listed = patch_status.status(pids or (), verify=True, active=True)
    reporter_of(context).show("patch_status", listed, exit_code=listed.exit_code)
    raise typer.Exit(listed.exit_code)


def _pairs(given: list[str] | None) -> dict[str, str]:
    """OLD=NEW words as a mapping."""
    from libswap.errors.base import UsageError

    found = {}
    for word in given or ():
        old, equals, new = word.partition("=")
        if not (old and equals and new):
            raise UsageError(f"{word} is not of the form OLD=NEW")
        found[old] = new
    return found
