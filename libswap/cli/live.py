"""`libswap live`."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libswap.cli.options import DryRun, Json, StateDir, command_of
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of

if TYPE_CHECKING:
    from libswap.operations.draining import DrainOptions
    from libswap.operations.moves import Report
    from libswap.operations.swap import Request
    from libswap.report.reporter import Reporter


class StateMode(StrEnum):
    """What becomes of the library's own data."""

    AUTO = "auto"
    CARRY = "carry"
    FRESH = "fresh"


class Then(StrEnum):
    """What becomes of a drain whose time is up."""

    KEEP = "keep"
    WARN = "warn"
    REVERT = "revert"


SafeMoment = Annotated[
    float,
    typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for a safe moment."),
]
Rehearse = Annotated[
    bool,
    typer.Option(
        "--rehearse",
        help="First in a copy of each process; where that fails, the process is left as it is.",
    ),
]
Unload = Annotated[
    bool,
    typer.Option(
        "--unload",
        help="Then unload copies that libswap loaded earlier, if nothing can reach them; else"
        " say what does.",
    ),
]
Relaxed = Annotated[
    bool, typer.Option("--relaxed", help="Let calls that are running end in the old code.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Go on in spite of risks; what is refused stays refused.")
]
AcceptUnknown = Annotated[
    bool,
    typer.Option(
        "--accept-unknown",
        help="Go on where it is not known whether objects that the old library made survive.",
    ),
]
Drain = Annotated[
    bool,
    typer.Option(
        "--drain",
        help="Leave objects that the old code made to it; what is made from now on is the new"
        " code's. libswap live --settle ends it when the last old object is gone.",
    ),
]
Handles = Annotated[
    list[Path] | None,
    typer.Option(
        "--handles", metavar="FILE", help="A description of the library's objects.", dir_okay=False
    ),
]
DrainLimit = Annotated[
    float | None,
    typer.Option(
        "--drain-limit",
        min=0,
        metavar="SECONDS",
        help="How long a drain may take; 0 is for ever. [default: for ever]",
    ),
]
ThenWhat = Annotated[
    Then, typer.Option("--then", help="What --settle does with a drain whose time is up.")
]


def drain_options(
    drain: bool,
    handles: list[Path] | None,
    limit: float | None,
    then: Then,
    *,
    rehearse: bool,
) -> "DrainOptions | None":
    """What --drain and the options that belong to it come to; None without it.

    Raises:
        UsageError: they do not go together.
    """
    from libswap.errors.base import UsageError
    from libswap.live.draining.record import Then as DrainThen
    from libswap.operations.draining import DrainOptions

    if drain and rehearse:
        raise UsageError("--drain cannot be rehearsed: a copy of the process ends with its objects")
    if not drain and (limit is not None or handles or then is not Then.KEEP):
        raise UsageError("--handles, --drain-limit and --then belong to --drain")
    if not drain:
        return None
    return DrainOptions(tuple(handles or ()), limit or 0.0, DrainThen(then.value))


def command(
    context: typer.Context,
    libraries: Annotated[
        list[Path],
        typer.Argument(
            metavar="LIB...",
            help="The library, by the name that processes know. Several are moved in one commit: "
            "all of them, or none.",
            show_default=False,
        ),
    ],
    pid: Annotated[
        list[int] | None, typer.Option("--pid", help="Only this process; may be repeated.")
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Every process that uses it (the default).")
    ] = False,
    new: Annotated[
        list[Path] | None,
        typer.Option(
            "--new",
            help="Use this file instead of what LIB leads to now; of several libraries once for"
            " each, in their order.",
        ),
    ] = None,
    wait: SafeMoment = 5.0,
    relaxed: Relaxed = False,
    state: Annotated[
        StateMode,
        typer.Option(
            help="The library's own data: auto carries what has a name, or whose place the machine "
            "code proves, and refuses to lose the rest; carry moves all of it where both files lay "
            "it out alike; fresh begins anew."
        ),
    ] = StateMode.AUTO,
    check: Annotated[
        str | None,
        typer.Option(
            "--check",
            metavar="CMD",
            help="Run after each process (LIBSWAP_PID is set); if it fails, that one is moved "
            "back.",
        ),
    ] = None,
    rehearse: Rehearse = False,
    unload: Unload = False,
    drain: Drain = False,
    handles: Handles = None,
    limit: DrainLimit = None,
    then: ThenWhat = Then.KEEP,
    settle: Annotated[
        bool,
        typer.Option(
            "--settle",
            help="End drains of LIB whose last old object is gone. With --force also where some may"
            " be left that nobody has used.",
        ),
    ] = False,
    accept_unknown: AcceptUnknown = False,
    force: Force = False,
    dry_run: DryRun = False,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,  # noqa: ARG001  the session's
) -> None:
    """Move running processes onto the new library, without a restart.

    After an install, LIB leads to the new file and processes still run the old one. Each is moved
    in a stop of well under a millisecond, or left as it is with the reason.
    """
    from libswap.errors.base import UsageError
    from libswap.live.outlook import Options
    from libswap.operations.swap import Request
    from libswap.settings import default_state_dir

    if pid and everyone:
        raise UsageError("--pid and --all say different things")
    if new and len(new) != len(libraries):
        raise UsageError("--new must be said once for each library, or not at all")
    if settle and (drain or new or dry_run or check is not None):
        raise UsageError("--settle goes with --pid, --wait, --unload and --force alone")
    draining = drain_options(drain, handles, limit, then, rehearse=rehearse)
    for one in libraries:
        if str(one) == one.name and not one.exists():
            raise UsageError(
                f"no {one} lies here; name it by its path: libswap scan {one} shows it"
            )
    options = Options(
        state=state.value, relaxed=relaxed, force=force, accept_unknown=accept_unknown, wait=wait
    )
    names = [str(one) for one in libraries]
    kept = state_dir or default_state_dir()
    if settle:
        from libswap.operations.settle import settle as settle_drains

        with paged(reporter_of(context), html, lambda: names) as reporter:
            report = settle_drains(
                libraries, tuple(pid or ()), options, unload=unload, state_dir=kept
            )
            reporter.show("live", report, exit_code=report.exit_code)
        raise typer.Exit(report.exit_code)
    files: list[Path | None] = [*new] if new else [None] * len(libraries)
    (library, file), *more = zip(libraries, files, strict=True)
    request = Request(
        library, file, tuple(pid or ()), options, dry_run, command_of("--check", check), kept,
        more=tuple(more), unload=unload, rehearse=rehearse, drain=draining,
    )  # fmt: skip
    with paged(reporter_of(context), html, lambda: names) as reporter:
        report = _moved(request, reporter, ", ".join(names))
        reporter.show("live", report, exit_code=report.exit_code)
    raise typer.Exit(report.exit_code)


def _moved(request: "Request", reporter: "Reporter", names: str) -> "Report":
    """What became of the processes; where a person says so, of those that are no sure case too."""
    from libswap.operations.swap import swap_library
    from libswap.report.words import count

    def tell(pid: int, step: str) -> None:
        reporter.progress(f"process {pid}: {step} {names}")

    report = swap_library(request, tell)
    unknown = report.pids_refused_by("ObjectsUnknown")
    if not unknown or not reporter.confirm(
        f"Whether their objects survive is not known for {count(len(unknown))}. Go on?"
    ):
        return report
    accepted = replace(request.options, accept_unknown=True)
    again = replace(request, pids=unknown, options=accepted)
    return report.followed_by(swap_library(again, tell))
