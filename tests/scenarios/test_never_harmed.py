"""Processes of many shapes under load, while libswap is killed again and again, or fails.

LIBSWAP_TEST_HARM_SECONDS makes it longer.
"""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from libswap.live.thread import states, tracer
from libswap.operations.moves import Moved, Skipped
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

SECONDS = float(os.environ.get("LIBSWAP_TEST_HARM_SECONDS", "2"))
LIBRARY = (
    "static _Atomic unsigned n;\nint version(void) { return VERSION; }\n"
    "int next(void) { return (n++ % 1000) * 10 + VERSION; }\n"
)
SHAPES = (("spin", "1"), ("malloc", "2"), ("churn", "1"), ("fork", "1"), ("signals", "1"))


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


@contextmanager
def at_work(stage: Stage, shapes: Sequence[tuple[str, str]]) -> Iterator[list[Target]]:
    made = stage.program("live/busy.c", "-include", str(stage.header), "-pthread")
    with ExitStack() as stack:
        yield [stack.enter_context(stage.running(made, *words)) for words in shapes]


def _move_all(stage: Stage, targets: Sequence[Target], wait: float = 60.0) -> None:
    for target in targets:
        outcome = stage.swap(target, wait=wait)
        assert isinstance(outcome, Moved | Skipped), outcome


def _killed_after(seconds: float, stage: Stage, targets: Sequence[Target]) -> bool:
    """Move them in a child that is killed; whether that was before it was done."""
    child = os.fork()
    if child == 0:
        try:
            swap_library(Request(stage.place, pids=tuple(t.pid for t in targets)))
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _unharmed(targets: Sequence[Target]) -> set[str]:
    """Every one answers and has never seen a wrong result; the versions that they run."""
    for target in targets:
        assert target.ask("go on") == "1"
        assert target.ask("wrong") == "0"
    return {target.ask("version") for target in targets}


@pytest.mark.scenario(
    "tool", ("killed by SIGKILL again and again, with several busy processes",), live="works"
)
def test_processes_of_every_shape_outlive_a_libswap_that_is_killed(stage: Stage) -> None:
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    with at_work(stage, SHAPES) as targets:
        rounds = killed = 0
        usual, end = 0.5, time.monotonic() + SECONDS
        while time.monotonic() < end or rounds < 4:
            rounds += 1
            version = 1 + rounds % 2
            stage.install(builds[version - 1])
            killed += _killed_after(moments.uniform(0, usual), stage, targets)
            assert _unharmed(targets) <= {"1", "2"}, f"seed {seed}, round {rounds}"
            if rounds % 4 == 0:
                began = time.monotonic()
                _move_all(stage, targets)
                usual = max(time.monotonic() - began, 0.05)
                assert _unharmed(targets) == {str(version)}, f"seed {seed}, round {rounds}"
        assert killed
        print(f"{rounds} rounds, {killed} of them killed, seed {seed}")  # noqa: T201  for -s


def _descriptors(without: Path) -> set[str]:
    """What is open; files of a library are remembered, up to a bound."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  names are what is wanted
        with suppress(FileNotFoundError):
            found.add((name, str(Path("/proc/self/fd", name).readlink())))
    return {f"{name} {path}" for name, path in found if str(without) not in path}


@pytest.mark.scenario("tool", ("failing again and again in one run",), live="leaves nothing behind")
def test_failures_leave_no_descriptor_no_child_and_no_traced_thread(stage: Stage) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    with at_work(stage, (("spin", "8"),)) as (target,):
        stage.install(builds[1])
        stage.swap(target, wait=0.05)  # what is remembered between processes is open now
        stage.install(builds[0])
        before = _descriptors(stage.place.parent)
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208  as above
        for _ in range(5):
            stage.install(builds[1])
            stage.swap(target, wait=0.01)
            stage.install(builds[0])
            stage.swap(target, wait=0.01)
        assert _descriptors(stage.place.parent) <= before
        assert len(os.listdir("/proc/self/task")) == threads  # noqa: PTH208  as above
        assert {tracer(target.pid, tid) for tid in states(target.pid)} == {0}
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        assert children == [str(target.pid)]
        assert target.ask("wrong") == "0"
