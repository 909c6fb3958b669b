"""`libswap scan`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from libswap.cli.options import Json, StateDir
from libswap.cli.page import Html, paged
from libswap.cli.session import reporter_of
from libswap.cli.state import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from libswap.report.reporter import Reporter
    from libswap.scan.scanner import Scan
    from libswap.scan.usage import Usage

_INTERVAL: Final = 2.0
"""Seconds between two looks."""


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
        float | None,
        typer.Option(
            "--interval",
            min=0.1,
            metavar="SECONDS",
            help="With --watch: time between two looks. [default: 2]",
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(
            "--metrics",
            metavar="FILE",
            help="Write metrics for the text file collector of Prometheus's node exporter too.",
        ),
    ] = None,
    nagios: Annotated[
        bool,
        typer.Option(
            "--nagios", help="Print and exit as a plugin of Nagios or Icinga does: 0, 1, 2 or 3."
        ),
    ] = False,
    warning: Annotated[
        str | None,
        typer.Option(
            "--warning",
            metavar="RANGE",
            help="With --nagios: outside of it, the number of processes is a warning. [default: 0]",
        ),
    ] = None,
    critical: Annotated[
        str | None,
        typer.Option(
            "--critical",
            metavar="RANGE",
            help="With --nagios: outside of it, it is critical. [default: no number is]",
        ),
    ] = None,
    html: Html = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> int:
    """Show which processes still run a replaced library, and what restarts them.

    With LIB: which processes have these files mapped, current or not. Changes nothing.
    """
    from libswap.errors.base import UsageError
    from libswap.operations import scan

    settings = settings_of(state_dir)
    if libraries and (nagios or metrics):
        raise UsageError("--metrics and --nagios are about the whole machine, not about LIB")
    if nagios and (watch or as_json or html):
        raise UsageError("--nagios goes with none of --watch, --json and --html")
    if not nagios and (warning or critical):
        raise UsageError("--warning and --critical belong to --nagios")
    if interval is not None and not watch:
        raise UsageError("--interval belongs to --watch")

    def look() -> "Scan | Usage":
        if libraries:
            return scan.scan_files(libraries, settings)
        found = scan.scan_machine(settings)
        if metrics is not None:
            _write_metrics(metrics, found)
        return found

    if nagios:
        return _alarm(reporter_of(context), look, warning or "0", critical)
    with paged(reporter_of(context), html) as reporter:
        if watch:
            _watch(reporter, look, interval or _INTERVAL)
        else:
            reporter.show("scan", look())
    return 0


def _watch(reporter: "Reporter", look: "Callable[[], object]", interval: float) -> None:
    try:
        while True:
            reporter.refresh("scan", look())
            time.sleep(interval)
    except KeyboardInterrupt:
        return


def _write_metrics(file: Path, found: "Scan") -> None:
    from libswap.linux.publish import publish
    from libswap.report.metrics import prometheus

    publish(str(file), prometheus(found, time.time()).encode(), 0o644)


def _alarm(
    reporter: "Reporter", look: "Callable[[], object]", warning: str, critical: str | None
) -> int:
    from libswap.operations.alarm import Threshold, judge
    from libswap.scan.scanner import Scan

    limits = Threshold.of(warning), None if critical is None else Threshold.of(critical)
    found = look()
    assert isinstance(found, Scan)  # noqa: S101  no LIB was named
    alarm = judge(found, *limits)
    reporter.show("alarm", alarm, exit_code=alarm.level)
    return int(alarm.level)
