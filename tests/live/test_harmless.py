"""Nothing of the target is disturbed by a borrow or a stop."""

import os
import signal
from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.calls import Call, Result, Returned
from libswap.live.thread import state
from libswap.live.transaction import commit
from libswap.live.writing import Prepared
from support.compiler import Compiler
from support.patching import Bench, applied, taken_back
from support.target import RTLD_NOW, Target, Traced, borrowed, borrowed_thread, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler, pytest.mark.alone]
CANARIES = (
    "AVX-512, mask and x87 state live (canaries in every register, the red zone, MXCSR, errno)"
)


@pytest.mark.scenario("threads", (CANARIES,), live="works")
def test_every_register_and_errno_survive_forty_borrows(compiler: Compiler) -> None:
    library = compiler.library("live/clobber.c", "-mno-avx")
    path = str(library).encode()
    with (
        running(compiler.program("live/canary.c", "-O1")) as target,
        ProcessMemory(target.pid) as memory,
    ):
        spinning = target.tids()[-1]
        with borrowed_thread(target, spinning) as thread:
            thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
        clobber = target.function("clobber", path)
        for _ in range(40):
            with borrowed_thread(target, spinning) as thread:
                outcome = thread.run([Call(clobber), Call(clobber)], timeout=5)
            assert isinstance(outcome, Returned)
            assert outcome.results == (42, 42)
            assert outcome.errnos == (99, 99)
            commit(target.identity, memory, Prepared(()), wait=5)
        target.say("report")
        assert target.line().startswith("intact")


@pytest.mark.scenario("threads", (CANARIES,), patch="works")
def test_every_register_survives_twenty_patches(compiler: Compiler, tmp_path: Path) -> None:
    program = compiler.program("live/canary.c", "-O1")
    path = Bench(compiler, tmp_path).patch(program, 'const char *width(void) { return "new"; }\n')
    with running(program) as target:
        for _ in range(20):
            applied(path, target.pid)
            taken_back(target.pid)
        applied(path, target.pid)
        target.say("report")
        assert target.line() == "intact new"


@pytest.mark.scenario(
    "threads", ("real-time signals queued at 100 Hz to 2 kHz (none lost)",), live="works"
)
@pytest.mark.parametrize("threads", [0, 8])
def test_no_queued_signal_is_lost_at_two_kilohertz(compiler: Compiler, threads: int) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    program = compiler.program("live/queued.c", "-O1")
    with (
        running(program, "3000", "400", str(threads)) as target,
        ProcessMemory(target.pid) as memory,
    ):
        dlopen, dlclose = target.function("dlopen"), target.function("dlclose")
        target.say("go")
        for _ in range(25):
            with borrowed(target) as thread:
                outcome = thread.run(
                    [Call(dlopen, (path, RTLD_NOW)), Call(dlclose, (Result(0),))], timeout=5
                )
            assert isinstance(outcome, Returned)
            commit(target.identity, memory, Prepared(()), wait=5)
        assert target.line() == "3000 0"


@pytest.mark.scenario(
    "threads", ("a parent that watches with waitpid(WUNTRACED, WCONTINUED)",), live="works"
)
def test_a_parent_that_watches_its_child_is_told_nothing(compiler: Compiler) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/watched.c")) as parent:
        child = Traced(int(parent.line()))

        def disturb() -> None:
            for _ in range(5):
                with borrowed(child) as thread:
                    dlopen = child.function("dlopen")
                    outcome = thread.run([Call(dlopen, (path, RTLD_NOW))], timeout=5)
                assert isinstance(outcome, Returned)
                with ProcessMemory(child.pid) as memory:
                    commit(child.identity, memory, Prepared(()), wait=5)

        disturb()
        os.kill(child.pid, signal.SIGSTOP)
        assert parent.line() == f"stopped {signal.SIGSTOP:d}"
        disturb()
        assert state(child.pid, child.pid) == "T"
        os.kill(child.pid, signal.SIGCONT)
        assert parent.line() == "continued"
        disturb()
        os.kill(child.pid, signal.SIGKILL)
        assert parent.line() == f"killed {signal.SIGKILL:d}"


@pytest.mark.scenario("threads", ("thread-group leader exited",), live="works")
def test_a_process_whose_group_leader_has_exited(compiler: Compiler) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/leaderless.c")) as target:
        with borrowed(target) as thread:
            outcome = thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
        assert isinstance(outcome, Returned)
        with ProcessMemory(target.tids()[-1]) as memory:
            assert commit(target.identity, memory, Prepared(()), wait=5).threads == 1
        target.say("hello")
        assert target.line() == "here"


def test_threads_that_come_and_go(compiler: Compiler) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    with (
        running(compiler.program("live/churn.c")) as target,
        ProcessMemory(target.pid) as memory,
    ):
        for _ in range(30):
            with borrowed(target) as thread:
                outcome = thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
            assert isinstance(outcome, Returned)
            commit(target.identity, memory, Prepared(()), wait=5)
        target.say("report")
        before = int(target.line())
        while int(_said(target)) < before + 100:
            pass


def _said(target: Target) -> str:
    target.say("report")
    return target.line()
