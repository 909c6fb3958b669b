"""libswap killed at every ptrace request and every write: the target never notices."""

import os
import signal
import traceback
from itertools import count
from pathlib import Path

import pytest

from libswap.linux import death
from libswap.operations.moves import Moved, Skipped
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.slow]

EVERY = 1 if os.environ.get("LIBSWAP_EVERY_STEP") else 7
"""Which of the steps; all of them take minutes."""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libversion.so")


def _in_a_child(work: object, die_at: int) -> int:
    """Run it in a process that is killed at a step; its status."""
    child = os.fork()
    if child == 0:
        try:
            death.arm(die_at)
            assert callable(work)
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  nothing may come out of this copy of the test
            traceback.print_exc()
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _consistent(target: Target, counted: int) -> int:
    """All ways lead to one version, and its state is whole; which version."""
    versions = {target.ask(q) for q in ("version", "global", "heap", "stack")}
    assert len(versions) == 1, versions
    version = int(versions.pop())
    assert int(target.ask("pointer")) == counted
    assert int(target.ask("count")) == 2 * counted + 11
    assert int(target.ask("callback")) == int(target.ask("method")) == 1 + 100 * version
    return version


def _must_move(pid: int) -> None:
    (outcome,) = reverted([pid])
    assert isinstance(outcome, Moved), outcome


@pytest.mark.scenario(
    "tool",
    ("killed by SIGKILL at every step",),
    live="the old or the new runs; the next run finishes",
)
def test_killed_at_every_step_of_a_swap(stage: Stage) -> None:
    old, new = (stage.build("live/version.c", version=v) for v in (1, 2))
    stage.install(old)
    program = stage.program("live/driver.c")
    seen = set()
    for step in count(1, EVERY):
        stage.install(old)
        with stage.running(program) as target:
            target.ask("count")
            stage.install(new)
            status = _in_a_child(lambda: stage.swap(target.pid), step)
            first = _consistent(target, 1)
            again = stage.swap(target.pid)
            assert isinstance(again, (Moved, Skipped)), (step, again)
            assert _consistent(target, 2) == 2, step
            seen.add(first)
        if status != -signal.SIGKILL:
            assert status == 0
            break
    assert seen == {1, 2}, "some were killed before the turn and some behind it"
    assert step > 50


def test_killed_at_every_step_of_a_revert(stage: Stage) -> None:
    old, new = (stage.build("live/version.c", version=v) for v in (1, 2))
    stage.install(old)
    program = stage.program("live/driver.c")
    seen = set()
    with stage.running(program) as target:
        target.ask("count")
        counted = 1
        stage.install(new)
        for step in count(1, EVERY):
            if _consistent(target, counted) == 1:
                stage.moved(target.pid)
            status = _in_a_child(lambda: _must_move(target.pid), step)
            counted += 1
            seen.add(_consistent(target, counted))
            counted += 1
            if status != -signal.SIGKILL:
                assert status == 0
                break
    assert seen == {1, 2}
