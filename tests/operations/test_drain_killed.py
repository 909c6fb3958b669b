"""libswap killed, or interrupted, in the middle of a drain: every object goes on as it was."""

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from libswap.linux import death
from libswap.live.outlook import Options
from libswap.operations.draining import DrainBegun, DrainOptions, StillDraining
from libswap.operations.moves import Refused
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES, Compiler
from support.driven import Target
from support.interruption import command, interrupted, require_let_go
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.slow]

HERE = FIXTURES / "drain"
EVERY = 1 if os.environ.get("LIBSWAP_EVERY_STEP") else 11
"""Which of the steps; all of them take minutes."""
INTERRUPTED, OF_FEW = (1, 1) if EVERY == 1 else (113, 11)
"""Which are interrupted: of those that begin a drain, and of those that end it, which are few."""


@pytest.fixture(scope="module")
def stage(compiler: Compiler, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(compiler, tmp_path_factory.mktemp("drain") / "libobjects.so")


def _killed(work: Callable[[], object], step: int) -> bool:
    """Do it in a process that is killed at a step; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            death.arm(step)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  nothing may come out of this copy of the test
            traceback.print_exc()
        finally:
            os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def _asked(target: Target, *questions: str) -> list[int]:
    return [int(target.ask(q)) for q in questions]


def _begin(stage: Stage, pid: int) -> object:
    drain = DrainOptions((HERE / "objects.toml",))
    (result,) = swap_library(Request(stage.place, pids=(pid,), drain=drain)).processes
    return result.outcome


def _settle(stage: Stage, pid: int) -> list[object]:
    return [p.outcome for p in settle([stage.place], [pid], Options()).processes]


def _programs(stage: Stage, every: int = EVERY) -> Iterator[tuple[Target, int]]:
    """A program for each step, until the work was not killed any more."""
    old, new = (stage.build("drain/objects.c", version=v) for v in (1, 2))
    stage.install(old)
    user = stage.program("drain/user.c", f"-I{HERE}", "-pthread", "-include", str(stage.header))
    for step in range(1, 10_000, every):
        stage.install(old)
        with stage.running(user) as target:
            assert _asked(target, "new 0 10", "attach 0 3", "threads 2") == [1, 0, 2]
            stage.install(new)
            yield target, step


def _used(target: Target) -> None:
    """What is old still works, and so does what is made now, by whichever copy."""
    before, after = _asked(target, "step 0", "step 0")
    assert after - before == 1, "it is an object of the old copy"
    assert _asked(target, "new 1 10", "attach 1 4") == [1, 0]
    assert _asked(target, "sum 1")[0] in (302, 559)
    assert _asked(target, "free 1", "detach 1", "wrong") == [0, 0, 0]


def test_killed_while_it_begins(stage: Stage) -> None:
    drained = set()
    for target, step in _programs(stage):
        killed = _killed(lambda target=target: _begin(stage, target.pid), step)  # type: ignore[misc]
        _used(target)
        again = _begin(stage, target.pid)
        assert isinstance(again, DrainBegun) or (
            isinstance(again, Refused) and "draining" in again.reason
        ), (step, again)
        drained.add(type(again))
        _used(target)
        assert _asked(target, "new 2 1", "sum 2", "join") == [1, 559, 0]
        if not killed:
            break
    assert drained == {DrainBegun, Refused}


def test_killed_while_it_settles(stage: Stage) -> None:
    steps = 0
    for target, step in _programs(stage):
        _begin(stage, target.pid)
        assert _asked(target, "free 0", "detach 0", "join", "new 2 10", "threads 2")[3] == 1
        killed = _killed(lambda target=target: _settle(stage, target.pid), step)  # type: ignore[misc]
        assert _asked(target, "new 1 10", "step 1", "sum 2", "free 1") == [1, 12, 559, 0]
        _settle(stage, target.pid)
        assert _settle(stage, target.pid) == [], step
        assert _asked(target, "new 1 10", "step 1", "sum 2", "free 1", "join") == [1, 12, 559, 0, 0]
        steps += 1
        if not killed:
            break
    assert steps > 2


def test_killed_while_it_takes_back(stage: Stage) -> None:
    steps = 0
    for target, step in _programs(stage):
        _begin(stage, target.pid)
        assert _asked(target, "new 2 10", "free 2", "join") == [1, 0, 0]
        killed = _killed(lambda target=target: revert([target.pid], "", Options()), step)  # type: ignore[misc]
        _used(target)
        for _ in range(2):
            outcomes = [p.outcome for p in revert([target.pid], "", Options()).processes]
            assert not any(isinstance(o, StillDraining) for o in outcomes), (step, outcomes)
        assert _asked(target, "version", "new 2 1", "sum 2") == [1, 1, 302]
        _used(target)
        steps += 1
        if not killed:
            break
    assert steps > 2


def _begin_by_command(stage: Stage, pid: int) -> None:
    handles = HERE / "objects.toml"
    command("live", stage.place, "--pid", pid, "--drain", "--handles", handles)


def _drained(stage: Stage, pid: int, step: int) -> object:
    """Ask for a drain: it begins now, or has begun."""
    outcome = _begin(stage, pid)
    begun = isinstance(outcome, Refused) and "draining" in outcome.reason
    assert begun or isinstance(outcome, DrainBegun), (step, outcome)
    return outcome


def _taken_back(target: Target, step: int) -> None:
    """Take a drain back, which an interrupted run may have done already."""
    outcomes = [p.outcome for p in revert([target.pid], "", Options()).processes]
    assert not any(isinstance(o, StillDraining) for o in outcomes), (step, outcomes)
    assert _asked(target, "version", "new 2 1", "sum 2", "free 2") == [1, 1, 302, 0], step


@pytest.mark.timeout(1200)
def test_interrupted_while_it_begins_and_takes_back(stage: Stage) -> None:
    state = ("--state-dir", stage.place.with_name("state"))
    drained = set()
    for target, step in _programs(stage, INTERRUPTED):
        again = interrupted(partial(_begin_by_command, stage, target.pid), step)
        require_let_go(target.pid)
        _used(target)
        drained.add(type(_drained(stage, target.pid, step)))
        _used(target)
        assert _asked(target, "join") == [0]
        back = partial(command, "revert", target.pid, *state)
        again |= interrupted(back, -(-step // OF_FEW))
        require_let_go(target.pid)
        _used(target)
        _taken_back(target, step)
        _used(target)
        if not again:
            break
    assert drained == {DrainBegun, Refused}


def test_interrupted_while_it_settles(stage: Stage) -> None:
    settle_it = ("live", stage.place, "--settle", "--pid")
    steps = 0
    for target, step in _programs(stage, OF_FEW):
        _begin(stage, target.pid)
        assert _asked(target, "free 0", "detach 0", "join", "new 2 10", "threads 2")[3] == 1
        again = interrupted(partial(command, *settle_it, target.pid), step)
        require_let_go(target.pid)
        assert _asked(target, "new 1 10", "step 1", "sum 2", "free 1") == [1, 12, 559, 0]
        _settle(stage, target.pid)
        assert _settle(stage, target.pid) == [], step
        assert _asked(target, "new 1 10", "step 1", "sum 2", "free 1", "join") == [1, 12, 559, 0, 0]
        steps += 1
        if not again:
            break
    assert steps > 1
