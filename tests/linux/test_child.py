"""A program that we talk to."""

import os

import pytest

from libswap.errors.base import ProgramFailed
from libswap.linux.child import Child


def test_a_line_asked_is_a_line_answered() -> None:
    with Child(["/bin/cat"], directory="/", timeout=20) as cat:
        assert cat.ask("one") == "one"
        assert cat.ask("two") == "two"


def test_lines_written_at_once_are_heard_one_by_one() -> None:
    with Child(["/bin/sh", "-c", "printf 'a\\nb\\n'; cat"], directory="/", timeout=20) as child:
        assert [child.hear(), child.hear()] == ["a", "b"]


def test_a_program_that_ends_is_heard_and_its_signal_named() -> None:
    with Child(["/bin/sh", "-c", "kill -BUS $$"], directory="/", timeout=20) as child:
        assert child.hear() is None
        assert child.ended() == "SIGBUS"
        assert child.ask("still there?") is None


def test_a_program_that_says_nothing_is_not_waited_for_forever() -> None:
    with (
        Child(["/bin/sh", "-c", "while read -r _; do :; done"], directory="/", timeout=0.2) as mute,
        pytest.raises(ProgramFailed, match="no answer in"),
    ):
        mute.ask("hello")


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(ProgramFailed, match="No such file"):
        Child(["/nonexistent"], directory="/", timeout=1)


def test_it_is_gone_after_the_block() -> None:
    with Child(["/bin/cat"], directory="/", timeout=20) as cat:
        pid = cat.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_line_without_end_is_cut_off() -> None:
    with (
        Child(["/bin/sh", "-c", "tr '\\0' x </dev/zero"], directory="/", timeout=60) as flood,
        pytest.raises(ProgramFailed, match="no end"),
    ):
        flood.hear()
