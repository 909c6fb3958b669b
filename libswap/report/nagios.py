"""Results for Nagios, Icinga and their kin: a line with performance data, details below it."""

import sys
from collections.abc import Iterator
from typing import Final

from libswap.errors.base import LibswapError
from libswap.operations.alarm import Alarm, Level
from libswap.report.text import printable
from libswap.report.words import count
from libswap.scan.scanner import Group

_SHOWN: Final = 20
"""Services with a line of their own; most systems keep no more than 4 to 8 KiB."""
_NAMED: Final = 3


class NagiosReporter:
    """Prints what the Monitoring Plugins Development Guidelines ask for, errors as UNKNOWN."""

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:  # noqa: ARG002
        """Print an alarm."""
        assert isinstance(result, Alarm)  # noqa: S101  libswap scan --nagios shows nothing else
        print("\n".join(lines(result)))  # noqa: T201
        sys.stdout.flush()

    def refresh(self, view: str, result: object) -> None:
        """Print another one."""
        self.show(view, result)

    def announce(self, view: str, plan: object) -> None:
        """Say nothing: the result is all that is read."""

    def progress(self, text: str) -> None:
        """Say nothing: a program waits for the result."""

    def note(self, text: str) -> None:
        """Say nothing: a program reads the result."""

    def error(self, error: LibswapError) -> None:
        """Print what stopped the work: nothing is known."""
        sys.stdout.write(f"LIBSWAP {Level.UNKNOWN.name} - {_plain(error.message)}\n")
        sys.stdout.flush()

    def confirm(self, question: str) -> bool:  # noqa: ARG002  there is nobody to ask
        """No."""
        return False


def lines(alarm: Alarm) -> Iterator[str]:
    """The first line is the status and the performance data; each service has one more."""
    yield f"LIBSWAP {alarm.level.name} - {_said(alarm)} | {' '.join(_numbers(alarm))}"
    groups = alarm.scan.groups
    for group in groups[:_SHOWN]:
        pids = ", ".join(str(user.process.identity.pid) for user in group.users[:_SHOWN])
        what = group.service.restart or group.service.advice
        yield _plain(f"{_name(group)}: {what} (PID {pids})")
    if len(groups) > _SHOWN:
        yield f"and {len(groups) - _SHOWN} more services"


def _said(alarm: Alarm) -> str:
    groups, looked = alarm.scan.groups, f"{alarm.scan.processes} looked at"
    if alarm.stale:
        named = ", ".join(_name(group) for group in groups[:_NAMED])
        more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
        broken = f", {alarm.overwritten} overwritten in place" if alarm.overwritten else ""
        run = "run replaced libraries" if alarm.stale > 1 else "runs a replaced library"
        return _plain(f"{count(alarm.stale)} {run}{broken}: {named}{more}")
    if alarm.level is Level.UNKNOWN:
        hidden = "other users' processes are hidden" if alarm.scan.others_hidden else ""
        missed = f"{count(len(alarm.scan.uninspected))} could not be looked at"
        return f"{hidden or missed} ({looked}); run it as root"
    rest = f", {len(alarm.scan.uninspected)} not" if alarm.scan.uninspected else ""
    return f"no process runs a replaced library, {looked}{rest}"


def _numbers(alarm: Alarm) -> Iterator[str]:
    critical = alarm.critical.text if alarm.critical else ""
    yield f"stale={alarm.stale};{alarm.warning.text};{critical};0"
    for name, value in (
        ("services", len(alarm.scan.groups)),
        ("overwritten", alarm.overwritten),
        ("undecided", len(alarm.scan.undecided)),
        ("uninspected", len(alarm.scan.uninspected)),
        ("processes", alarm.scan.processes),
    ):
        yield f"{name}={value};;;0"


def _name(group: Group) -> str:
    return group.service.name or "no service"


def _plain(text: str) -> str:
    """Foreign text without what would begin performance data, or end the line."""
    return printable(text).replace("|", "\\x7c")
