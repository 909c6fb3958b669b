"""The decisions that need no file system: settling, quiet hours, limits, what belongs together."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libswap.linux.files import FileId
from libswap.linux.filesystems import kind_of
from libswap.operations.deployments import Cleared, Deployment, Ended, Outcome
from libswap.watch import batch, hours, limits
from libswap.watch.rule import Limits, Require, Rule, Trust
from libswap.watch.settle import (
    Hint,
    Look,
    Patience,
    Print,
    Seen,
    Settled,
    Wait,
    is_ignored,
    judge,
    seen,
)

PATIENCE = Patience(settle=1.0, quiet=10.0, incomplete=100.0)


def look(size: int = 5, *, written: bool | None = False, complete: bool = True) -> Look:
    return Look(Print(FileId(1, 2), size, 3, 4), written, complete)


@pytest.mark.parametrize(
    ("found", "finished", "due"),
    [
        (look(), False, 1.0),
        (look(written=None), False, 10.0),
        (look(written=None), True, 1.0),
        (look(complete=False), True, 100.0),
        (look(written=None, complete=False), True, 100.0),
    ],
)
def test_a_file_settles_after_the_time_that_suits_what_is_known(
    found: Look, *, finished: bool, due: float
) -> None:
    file = Seen(found, 0.0, finished)
    assert judge(file, PATIENCE, due - 0.01) == Wait(due)
    assert judge(file, PATIENCE, due) == Settled()


def test_a_file_that_is_open_for_writing_never_settles() -> None:
    assert judge(Seen(look(written=True), 0.0, finished=True), PATIENCE, 1e6) == Wait(1e6 + 1)


def test_any_change_begins_the_wait_anew_and_forgets_what_events_said() -> None:
    first = seen(None, look(1), Hint.FINISHED, 5.0)
    assert seen(first, look(1), None, 9.0) == first
    assert seen(first, look(2), Hint.TOUCHED, 9.0) == Seen(look(2), 9.0, finished=False)
    assert seen(Seen(look(1), 5.0), look(1), Hint.FINISHED, 9.0).finished


@pytest.mark.parametrize("name", [".a", "a~", "a.part", "A.TMP", "a.dpkg-new", "#a#", "a.rpmsave"])
def test_names_of_unfinished_files_and_backups_are_ignored(name: str) -> None:
    assert is_ignored(name)
    assert not is_ignored(f"lib{name.strip('.~#')}.so")


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    ("span", "quiet", "loud"),
    [
        ("08:00-18:00", "2026-11-21 08:00", "2026-11-21 18:00"),
        ("22:00-06:00", "2026-11-21 05:59", "2026-11-21 06:00"),
        ("Sat 22:00-06:00", "2026-11-22 05:59", "2026-11-21 05:59"),
        ("Mon-Fri 00:00-24:00", "2026-11-20 23:59", "2026-11-21 00:00"),
        ("Fri-Mon 12:00-13:00", "2026-11-23 12:30", "2026-11-24 12:30"),
    ],
)
def test_quiet_hours_hold_by_day_and_past_midnight(span: str, quiet: str, loud: str) -> None:
    spans = (hours.parse(span),)
    assert hours.is_quiet(spans, at(quiet))
    assert not hours.is_quiet(spans, at(loud))
    end = at(quiet) + hours.until_end(spans, at(quiet))
    assert not hours.is_quiet(spans, end)
    assert hours.is_quiet(spans, end - 60)


@pytest.mark.parametrize(
    "text", ["", "8-18", "08:00", "25:00-26:00", "Foo 08:00-09:00", "8:60-9:00"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"span|day"):
        hours.parse(text)


def ended(outcome: Outcome, when: float = 0.0, directory: str = "/d") -> Ended:
    deployment = Deployment("1", directory, "/l", "none", 0.0, ())
    return Ended(deployment, outcome, "", None, None, when)


def test_failures_count_until_one_works_or_somebody_looked() -> None:
    rule = Rule("/d", "/l", limits=Limits(failures=2))
    failed, rejected = ended(Outcome.FAILED), ended(Outcome.REJECTED)
    for ledger, stopped in (
        ([failed, failed], True),
        ([failed, rejected, failed, rejected], True),
        ([failed, ended(Outcome.DEPLOYED), failed], False),
        ([failed, failed, Cleared(1.0)], False),
        ([failed, ended(Outcome.FAILED, directory="/other")], False),
        ([None, failed, failed], True),
    ):
        hold = limits.hold(rule, limits.past_of("/d", ledger), 0.0)
        assert (hold is not None) == stopped, ledger
        assert hold is None or hold.seconds is None


def test_the_rate_counts_the_last_hour_and_says_how_long_to_wait() -> None:
    rule = Rule("/d", "/l", limits=Limits(per_hour=2))
    past = limits.past_of("/d", [ended(Outcome.DEPLOYED, t) for t in (0.0, 3000.0, 3700.0)])
    hold = limits.hold(rule, past, 3800.0)
    assert hold is not None
    assert hold.seconds == pytest.approx(2800.0)
    assert limits.hold(rule, past, 6601.0) is None


RULE = Rule("/d", "/l", gather=10.0)


def sorted_out(rule: Rule, settled: dict[str, float], now: float, **more: object) -> batch.Sorted:
    listings = {"m.manifest": {"a": "1", "b": "2"}} if "m.manifest" in settled else {}
    present = {*settled, *more.get("present", ())}  # type: ignore[misc]
    return batch.sort(settled, present, listings, rule, now)


def test_files_are_taken_in_the_order_in_which_they_settled() -> None:
    found = sorted_out(RULE, {"c": 1.0, "a": 3.0, "b": 2.0}, 5.0)
    assert [b.libraries for b in found.batches] == [("c",), ("b",), ("a",)]


def test_what_a_manifest_lists_waits_for_the_rest_and_is_never_taken_alone() -> None:
    assert sorted_out(RULE, {"m.manifest": 0.0, "a": 1.0}, 5.0) == batch.Sorted((), 11.0)
    (late,) = sorted_out(RULE, {"m.manifest": 0.0, "a": 1.0}, 11.0).batches
    assert (late.names, "b" in late.refusal) == (("a", "m.manifest"), True)
    (whole,) = sorted_out(RULE, {"m.manifest": 0.0, "a": 1.0, "b": 2.0}, 5.0).batches
    assert (whole.libraries, whole.refusal) == (("a", "b"), "")


def test_nothing_is_taken_while_a_manifest_is_still_being_written() -> None:
    assert sorted_out(RULE, {"a": 1.0}, 5.0, present=["m.manifest"]).batches == ()


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "a.sig", "b.minisig", "m.manifest", "m.manifest.sig"]),
        st.floats(0, 100),
    ),
    st.sampled_from(list(Require)),
    st.floats(0, 200),
)
def test_no_file_is_in_two_batches_and_in_the_end_each_is_in_one(
    settled: dict[str, float], require: Require, now: float
) -> None:
    rule = replace(RULE, trust=Trust(require))
    for moment in (now, 1000.0):
        names = [n for b in sorted_out(rule, settled, moment).batches for n in b.names]
        assert len(names) == len(set(names))
    assert set(names) == set(settled)


def test_the_kind_of_a_file_system_is_read_from_mountinfo() -> None:
    text = (
        b"29 1 0:26 / / rw - ext4 /dev/sda rw\n"
        b"30 29 0:45 / /mnt\\040x rw,relatime shared:1 - nfs4 server:/x rw\n"
    )
    assert kind_of(text, 0x2D) == "nfs4"
    assert kind_of(text, 0x1A) == "ext4"
    assert kind_of(text, 0x99) == ""
