"""What Nagios and Icinga read: one line, an exit code of four, performance data."""

import re

import pytest

from libswap.errors.base import InvalidElf, UsageError
from libswap.operations.alarm import Level, Threshold, judge
from libswap.process.identity import Identity
from libswap.report.nagios import NagiosReporter, lines
from libswap.scan.census import Uninspected
from libswap.scan.loading import Opened
from libswap.scan.owner import Process
from libswap.scan.scanner import Group, Scan
from libswap.scan.services import Service
from libswap.scan.stale import Deleted, Overwritten, State
from libswap.scan.use import Use, User

PERFORMANCE = re.compile(r"[a-z]+=\d+;[^; ]*;[^; ]*;0")


def scan(*pids: int, state: State | None = None, missed: int = 0, name: str = "") -> Scan:
    service = Service("systemd unit", name, "systemctl restart it")
    found = Use("/l", None, state or Deleted(None), True, (), Opened(), None, None)  # noqa: FBT003
    users = tuple(
        User(Process(Identity(pid, 1), 1.0, 0, "root", (), "x", service), (found,)) for pid in pids
    )
    groups = (Group(service, users),) if users else ()
    not_seen = tuple(Uninspected(n, "x", "no") for n in range(missed))
    return Scan(groups, (), (), (), 9, not_seen, others_hidden=False)


def level(
    found: Scan, warning: str = "0", critical: str | None = None, *, root: bool = False
) -> Level:
    limit = None if critical is None else Threshold.of(critical)
    return judge(found, Threshold.of(warning), limit, root=root).level


@pytest.mark.parametrize(
    ("text", "alarms", "not_"),
    [
        ("0", {1, 2}, {0}),
        ("10", {11}, {0, 10}),
        ("10:", {9}, {10, 99}),
        ("~:10", {11}, {0, 10}),
        ("10:20", {9, 21}, {10, 20}),
        ("@10:20", {10, 15, 20}, {9, 21}),
    ],
)
def test_ranges_mean_what_the_guidelines_say(text: str, alarms: set[int], not_: set[int]) -> None:
    threshold = Threshold.of(text)
    assert all(map(threshold.alarms, alarms))
    assert not any(map(threshold.alarms, not_))


@pytest.mark.parametrize("text", ["", "@", "x", "2:1", "1:2:3", "-1", "1" * 10, "~", "٣"])
def test_what_is_no_range_is_a_wrong_word(text: str) -> None:
    with pytest.raises(UsageError):
        Threshold.of(text)


def test_the_level_is_the_worst_that_was_found() -> None:
    assert level(scan()) is Level.OK
    assert level(scan(1)) is Level.WARNING
    assert level(scan(1), "1") is Level.OK
    assert level(scan(1, 2, 3), "0", "2") is Level.CRITICAL
    assert level(scan(1, state=Overwritten(1.0, True, "")), "5") is Level.CRITICAL  # noqa: FBT003
    assert level(scan(1, state=Overwritten(1.0, False, "")), "5") is Level.OK  # noqa: FBT003
    assert level(scan(missed=1)) is Level.UNKNOWN
    assert level(scan(missed=1), root=True) is Level.OK
    assert level(scan(1, missed=1)) is Level.WARNING


def test_the_first_line_has_status_and_performance_data() -> None:
    alarm = judge(scan(4, 5, name="a|b\n"), Threshold.of("1"), Threshold.of("10:20"))
    first, service = lines(alarm)
    said, _, numbers = first.partition(" | ")
    assert said == "LIBSWAP CRITICAL - 2 processes run replaced libraries: a\\x7cb\\n"
    assert service == "a\\x7cb\\n: systemctl restart it (PID 4, 5)"
    assert all(map(PERFORMANCE.fullmatch, numbers.split()))
    assert numbers.startswith("stale=2;1;10:20;0 services=1;;;0 ")


def test_an_error_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    NagiosReporter().error(InvalidElf("a|b\n", "it is empty"))
    out, err = capsys.readouterr()
    assert out == "LIBSWAP UNKNOWN - a\\x7cb\\n is not a usable shared library: it is empty\n"
    assert err == ""
