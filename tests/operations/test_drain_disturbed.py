"""Objects with doubles in a program that is disturbed: by forks, signals, jumps, libswap's end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from libswap.linux import death
from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, StillDraining
from libswap.operations.moves import Outcome, Refused
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

HERE = FIXTURES / "drain"
EACH = bool(os.environ.get("LIBSWAP_EVERY_STEP"))
"""Whether libswap is killed at all of its steps, which takes minutes, or at some."""


@pytest.fixture(scope="module")
def stage(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(compiler, tmp_path_factory.mktemp("disturbed") / "libsettings.so")


@contextmanager
def running(stage: Stage) -> Iterator[Target]:
    """A program with old settings 0 of value 1 and a thing made of them; the new build is there."""
    old, new = (stage.build("drain/settings.c", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program(
        "drain/disturbed.c", f"-I{HERE}", "-include", str(stage.header), "-pthread"
    )
    with stage.running(user) as target:
        assert asked(target, "new 0 1", "keep", "sum 0 0") == [1, 1, 1002]
        stage.install(new)
        yield target


@contextmanager
def draining(stage: Stage) -> Iterator[Target]:
    """That, in the midst of a drain, with new settings 1 and 2, which have doubles."""
    with running(stage) as target:
        assert isinstance(begun(stage, target), DrainBegun)
        assert asked(target, "new 1 50", "new 2 30", "sum 0 1", "sum 1 2") == [50, 30, 1051, 2080]
        yield target
        assert asked(target, "wrong", "count", "free 1", "free 2", "count") == [0, 3, 0, 0, 1]


def asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def begun(stage: Stage, target: Target) -> Outcome:
    drain = DrainOptions((HERE / "settings.toml",))
    (result,) = swap_library(Request(stage.place, pids=(target.pid,), drain=drain)).processes
    return result.outcome


def test_a_child_of_a_fork_uses_and_ends_what_both_copies_have(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "fork", "sum 0 2") == [2, 1031]


def test_a_fork_within_a_call_in_either_copy(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "fork_within 1", "sum 0 1", "sum 0 2") == [24, 1051, 1031]
        assert asked(target, "fork_within 0") == [12], "an old one has no double"


def test_a_handler_calls_what_has_doubles_within_a_call_in_either_copy(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "signal_within 1", "sum 0 2", "sum 2 2") == [2, 1043, 2084]
        assert asked(target, "signal_within 2", "sum 0 2", "sum 2 2") == [2, 1043, 2084]
        assert asked(target, "signal_within 0", "sum 0 2", "meet 9") == [1, 1042, 1010]


def test_a_jump_out_of_a_call_in_either_copy(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "leap_from 1 1", "sum 0 1", "sum 1 1") == [11, 1051, 2100]
        assert asked(target, "leap_from 1 2", "sum 0 1", "sum 1 1") == [21, 1051, 2100]
        assert asked(target, "leap_from 0 1", "meet 9") == [11, 1010]


def test_signals_and_jumps_at_any_moment(stage: Stage) -> None:
    with draining(stage) as target:
        assert asked(target, "storm 1 400", "sum 0 1", "sum 1 1") == [1, 1051, 2100]
        assert asked(target, "leaps 1 400", "sum 0 1", "sum 1 1") == [1, 1051, 2100]
        assert asked(target, "meet 3", "free 2", "new 2 30", "sum 0 2") == [1004, 0, 30, 1031]


# Killed, while threads make, copy, meet and end settings all the time


def killed(work: Callable[[], object], step: int) -> bool:
    """Do it in a process that is killed at a step; whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            death.arm(step)
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def programs(stage: Stage, stride: int) -> Iterator[tuple[Target, int]]:
    """A program for each step, at work in two threads."""
    for step in range(1, 10_000, 1 if EACH else stride):
        with running(stage) as target:
            assert asked(target, "threads 2") == [2]
            yield target, step


@pytest.mark.slow
def test_killed_while_doubles_begin(stage: Stage) -> None:
    outcomes = set()
    for target, step in programs(stage, 29):
        done = not killed(lambda target=target: begun(stage, target), step)  # type: ignore[misc]
        assert asked(target, "meet 9")[0] in (1010, 2010), step
        again = begun(stage, target)
        assert isinstance(again, DrainBegun) or (
            isinstance(again, Refused) and "draining" in again.reason
        ), (step, again)
        outcomes.add(type(again))
        assert asked(target, "meet 9", "new 1 50", "sum 0 1", "sum 1 1") == [1010, 50, 1051, 2100]
        assert asked(target, "join", "count", "free 1", "count") == [0, 2, 0, 1], step
        if done:
            break
    assert outcomes == {DrainBegun, Refused}


@pytest.mark.slow
def test_killed_while_doubles_are_given_up(stage: Stage) -> None:
    def settled() -> list[Outcome]:
        report = settle([stage.place], [target.pid], Options(force=True))
        return [p.outcome for p in report.processes]

    for target, step in programs(stage, 5):
        assert isinstance(begun(stage, target), DrainBegun)
        assert asked(target, "new 1 50", "join", "end", "free 0", "new 0 1", "keep") == [
            50, 0, 0, 0, 1, 1,
        ]  # fmt: skip
        assert asked(target, "threads 2") == [2]
        done = not killed(settled, step)
        assert asked(target, "meet 9", "sum 0 1", "sum 1 1") == [2010, 2051, 2100], step
        settled()
        assert settled() == [], step
        assert asked(target, "meet 9", "sum 0 1", "join", "count") == [2010, 2051, 0, 2], step
        if done:
            break
    assert step > 5


@pytest.mark.slow
def test_killed_while_a_drain_with_doubles_is_taken_back(stage: Stage) -> None:
    def taken_back() -> list[Outcome]:
        return [p.outcome for p in revert([target.pid], "", Options()).processes]

    for target, step in programs(stage, 5):
        assert isinstance(begun(stage, target), DrainBegun)
        assert asked(target, "new 1 50", "sum 0 1", "free 1", "join") == [50, 1051, 0, 0]
        assert asked(target, "threads 2") == [2]
        done = not killed(taken_back, step)
        assert asked(target, "meet 9")[0] == 1010, step
        assert asked(target, "join") == [0], step
        for _ in range(2):
            outcomes = taken_back()
            assert not any(isinstance(o, StillDraining) for o in outcomes), (step, outcomes)
        assert asked(target, "meet 9", "new 1 50", "sum 1 1", "count") == [1010, 50, 1100, 2], step
        if done:
            break
    assert step > 5
