"""Libswap ended by a signal at any moment, and two of them at once, while the process serves."""

import os
import random
import signal
import time
from itertools import count, islice
from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Skipped
from support.command import Libswap
from support.compiler import Compiler
from support.death import deaths
from support.driven import Target
from support.interruption import interruptions
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n" + "".join(
    f"static int d{i} = {i};\nint f{i}(int a) {{ return a * {i} + d{i}++ + VERSION; }}\n"
    for i in range(200)
)
# Three threads call all the time; every answer of the library must be one more than the last.
PROGRAM = """
#include <pthread.h>
#include <time.h>
int next(void);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int last, gaps;
static int call(void) {
    pthread_mutex_lock(&lock);
    int value = next();
    if (value / 10 != last + 1) gaps++;
    last = value / 10;
    pthread_mutex_unlock(&lock);
    return value % 10;
}
static void *serve(void *p) {
    for (;;) { struct timespec time = {0, 100000}; call(); nanosleep(&time, 0); }
}
int main(void) {
    for (int i = 0; i < 3; i++) { pthread_t t; if (pthread_create(&t, 0, serve, 0)) return 9; }
    ready();
    while (asked()) { int version = call(); answer(gaps * 10 + version); }
}
"""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def tool(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("tool", situations, live=live)


def _served(target: Target) -> str:
    """The version that answers; a gap in the count would stand before it."""
    return target.ask()


def _ended_in_the_middle(stage: Stage, target: Target, number: signal.Signals, delay: float) -> int:
    """Move it in a child that gets a signal; how the child ended.

    SIGINT is blocked until it can no longer make a second pytest of the child.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            stage.swap(target)
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    time.sleep(delay)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@tool("ended by SIGKILL, SIGINT, SIGTERM, SIGHUP at random moments while the process serves")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT", "SIGTERM", "SIGHUP"])
def test_the_next_run_finishes_or_reverts(stage: Stage, number: str) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    made = stage.program(PROGRAM, "-include", str(stage.header), "-pthread")
    moments = random.Random(number)
    with stage.running(made) as target:
        assert _served(target) == "1"
        began = time.monotonic()
        stage.install(builds[1])
        stage.moved(target)
        usual = time.monotonic() - began
        broken_off = 0
        for turn in count():
            if turn >= 8 and broken_off:
                break
            version = 1 + turn % 2
            stage.install(builds[version - 1])
            delay = moments.uniform(0, usual)
            code = _ended_in_the_middle(stage, target, signal.Signals[number], delay)
            if code == 0:
                usual = delay  # the machine has less to do than when it was measured
            broken_off += code != 0
            assert code in (0, 130, -signal.Signals[number]), (turn, delay, code)
            assert _served(target) in ("1", "2"), (turn, delay, code)
            outcome = stage.swap(target)
            assert isinstance(outcome, Moved | Skipped), (turn, delay, code, outcome)
            assert _served(target) == str(version), (turn, delay, code)
        (outcome,) = reverted([target.pid])
        assert isinstance(outcome, Moved)
        assert _served(target) == "1"


@tool("interrupted by Ctrl-C right behind a request to the kernel, at each or at some")
def test_an_interruption_leaves_the_old_or_the_new_one(stage: Stage) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    made = stage.program(PROGRAM, "-include", str(stage.header), "-pthread")
    every = 1 if os.environ.get("LIBSWAP_EVERY_STEP") else 17
    with stage.running(made) as target:
        stage.install(builds[1])
        for step in interruptions(lambda: stage.swap(target), stride=every):
            assert _served(target) in ("1", "2"), step
            assert isinstance(stage.swap(target), Moved | Skipped), step
            assert _served(target) == "2", step
            (outcome,) = reverted([target.pid])
            assert isinstance(outcome, Moved), (step, outcome)
            assert _served(target) == "1", step
        for step in interruptions(lambda: reverted([target.pid]), stride=every):
            assert _served(target) in ("1", "2"), step
            assert isinstance(stage.swap(target), Moved | Skipped), step
            assert _served(target) == "2", step


@tool("killed, and then the old file is asked for again")
def test_what_a_killed_run_had_loaded_is_nobodys(stage: Stage) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    made = stage.program(PROGRAM, "-include", str(stage.header), "-pthread")
    with stage.running(made) as target:
        stage.install(builds[1])
        for step in islice(deaths(lambda: stage.swap(target), first=20, stride=20), 7):
            stage.install(builds[0])
            outcome = stage.swap(target)
            assert isinstance(outcome, Moved | Skipped), (step, outcome)
            assert _served(target) == "1", step
            stage.install(builds[1])


@tool("two tools at once on one target")
def test_two_at_once_move_it_once(stage: Stage, tmp_path: Path) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header), "-pthread")
    with stage.running(made) as target:
        stage.install(stage.build(LIBRARY, version=2))
        libswap = Libswap(tmp_path / "state")
        both = [libswap.start("live", stage.place, "--pid", target.pid) for _ in range(2)]
        outcomes = []
        for run in both:
            said, _ = run.communicate(timeout=60)
            assert run.returncode == 0, said
            outcomes += [kind for kind in ("Moved", "Skipped") if f'"kind": "{kind}"' in said]
        assert sorted(outcomes) == ["Moved", "Skipped"]
        assert _served(target) == "2"
        assert isinstance(reverted([target.pid])[0], Moved)
        assert _served(target) == "1"
