"""The watcher is killed before each call that changes a file; the next one deploys exactly once."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libswap.operations.deployments import Outcome
from libswap.watch.rule import Health
from support.compiler import Compiler, has
from support.death import deaths
from support.dropping import Drop
from support.dying import arm
from support.faults import Traced
from support.warm import Warm, warm

pytestmark = pytest.mark.compiler

STRIDE = 1 if "LIBSWAP_EVERY_STEP" in os.environ else 5
"""Every step takes two minutes."""


@pytest.fixture
def scenes(compiler: Compiler, tmp_path: Path) -> Iterator[Callable[[], Drop]]:
    """Makes the same scene again and again, the one before removed."""
    root = tmp_path / "scene"

    def make() -> Drop:
        shutil.rmtree(root, ignore_errors=True)
        return Drop(compiler, root)

    yield make
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def server() -> Iterator[Warm]:
    with warm() as started:
        yield started


def killed(make: Callable[[], Drop], prepare: Callable[[Drop], None]) -> Iterator[Drop]:
    """Scenes after a death and the round that followed it."""
    drop = make()
    prepare(drop)
    count = 0
    for _ in deaths(drop.once, stride=STRIDE, arm=arm):
        count += 1
        drop.once()
        yield drop
        assert nothing_is_left(drop)
        drop = make()
        prepare(drop)
    assert count > 3


def ending_of(work: Callable[[], object]) -> int:
    """How a child ends that does this: a status, or the negative number of a signal."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def nothing_is_left(drop: Drop) -> bool:
    place = drop.root / "state/watch"
    names = {p.name for p in place.iterdir()} - {"lock", "ledger", "staging", "current.new"}
    return not names and not list((place / "staging").iterdir()) and drop.lying() == []


def test_a_library_is_deployed_exactly_once(scenes: Callable[[], Drop]) -> None:
    for drop in killed(scenes, lambda drop: drop.put("libx.so.1.2") and None):
        assert drop.runs() == 2
        assert drop.aside("deployed") == ["libx.so.1.2"]
        assert drop.aside("rejected") == []
        done = [o for o in drop.operations_done() if o == "install"]
        assert done == ["install"]
        assert [e.outcome for e in drop.ledger()] == [Outcome.DEPLOYED]
        assert drop.once().ended == ()


def test_what_is_refused_is_refused_once(scenes: Callable[[], Drop]) -> None:
    for drop in killed(scenes, lambda drop: drop.put("junk.so", b"junk") and None):
        assert drop.operations() == []
        assert [n for n in drop.aside("rejected") if not n.startswith(".")] == [
            "junk.so", "junk.so.reason",
        ]  # fmt: skip
        assert [e.outcome for e in drop.ledger()] == [Outcome.REJECTED]


def test_what_fails_its_gate_is_taken_back_exactly_once(scenes: Callable[[], Drop]) -> None:
    def prepare(drop: Drop) -> None:
        drop.change(health=Health(command=("/bin/false",)))
        drop.put("libx.so.1.2")

    for drop in killed(scenes, prepare):
        assert drop.runs() == 1
        assert drop.aside("deployed") == []
        assert drop.aside("rejected") == ["libx.so.1.2", "libx.so.1.2.reason"]
        assert drop.operations_done() == ["install", "rollback"]
        (ended,) = drop.ledger()
        assert (ended.outcome, ended.rollback is not None) == (Outcome.FAILED, True)


def test_a_deployment_that_takes_the_watcher_down_each_time_is_taken_back(
    scenes: Callable[[], Drop],
) -> None:
    drop = scenes()
    drop.put("libx.so.1.2")
    drop.change(health=Health(command=("/bin/sh", "-c", "kill -9 $PPID")))
    for _ in range(4):
        assert ending_of(drop.once) == -9
        assert drop.runs() == 2
    (ended,) = drop.once().ended
    assert "interrupted 3 times" in ended.reason
    assert (drop.runs(), drop.operations_done()) == (1, ["install", "rollback"])


@pytest.mark.ptrace
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has("strace"), reason="no strace")
def test_the_real_command_killed_by_strace_deploys_exactly_once(
    scenes: Callable[[], Drop], tmp_path: Path, server: Warm
) -> None:
    def command(drop: Drop) -> list[str]:
        (drop.root / "watch.toml").write_text(drop.toml())
        words = ["watch", "--once", "--config", str(drop.root / "watch.toml")]
        state = ["--state-dir", str(drop.settings.state_dir)]
        return [*words, *state]

    drop = scenes()
    drop.put("libx.so.1.2")
    traced = Traced((drop.lib, drop.box, drop.settings.state_dir), server)
    calls = traced.record(command(drop), tmp_path / "log", names=False)
    assert len(calls) > 20
    for number, call in enumerate(calls[3 :: 2 * STRIDE]):
        drop = scenes()
        drop.put("libx.so.1.2")
        traced.inject(command(drop), call, "SIGKILL", tmp_path / "log", cold=number == 0)
        drop.once()
        assert (drop.runs(), drop.aside("deployed")) == (2, ["libx.so.1.2"]), call
        assert drop.operations_done() == ["install"], call
        assert [e.outcome for e in drop.ledger()] == [Outcome.DEPLOYED], call
