"""No system call of the target ends early or with EINTR because of us."""

from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.calls import Call, Returned
from libswap.live.transaction import commit
from libswap.live.writing import Prepared
from libswap.operations.patch_status import status
from support.compiler import Compiler
from support.patching import Bench, applied, taken_back
from support.target import RTLD_NOW, Target, borrowed_thread, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler, pytest.mark.alone]
WAITS = (
    "blocked in nanosleep",
    "blocked in clock_nanosleep",
    "blocked in poll",
    "blocked in ppoll",
    "blocked in epoll_wait",
    "blocked in epoll_pwait2",
    "blocked in select",
    "blocked in pselect",
    "blocked in read on pipe/tty/socket",
    "blocked in write on pipe/socket",
    "blocked in recv with time-out",
    "blocked in accept",
    "blocked in futex with and without time-out",
    "blocked in sigtimedwait",
    "blocked in pause",
    "blocked in sigsuspend",
    "blocked in wait4",
    "blocked in semop",
    "blocked in msgrcv",
    "blocked in io_getevents",
    "blocked in io_uring wait",
    "blocked in inotify read",
    "blocked in flock",
    "page-faulting on userfaultfd",
)


def what_became_of_them(target: Target) -> set[str]:
    target.say("release")
    said = set()
    while (line := target.line()) != "end":
        assert line, "the target has ended"
        said.add(line)
    return said


def complaints(target: Target) -> set[str]:
    return {
        line for line in what_became_of_them(target) if not line.endswith((" ok", " unavailable"))
    }


@pytest.mark.scenario("threads", WAITS, live="works")
def test_every_wait_outlives_twenty_stops(compiler: Compiler) -> None:
    with (
        running(compiler.program("live/waits.c", "-O1")) as target,
        ProcessMemory(target.pid) as memory,
    ):
        for _ in range(20):
            commit(target.identity, memory, Prepared(()), wait=5)
        assert complaints(target) == set()


@pytest.mark.scenario("threads", WAITS, patch="works")
def test_every_wait_outlives_patches(compiler: Compiler, tmp_path: Path) -> None:
    program = compiler.program("live/waits.c", "-O1")
    fix = "extern _Atomic int handled;\nvoid handler(int signo) { handled += signo; }\n"
    path = Bench(compiler, tmp_path).patch(program, fix)
    with running(program) as target:
        for _ in range(5):
            applied(path, target.pid)
            taken_back(target.pid)
        applied(path, target.pid)
        assert status([target.pid], verify=True).exit_code == 0
        assert complaints(target) == set()


def test_a_thread_in_any_wait_can_be_borrowed(compiler: Compiler) -> None:
    addition = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/waits.c", "-O1")) as target:
        dlopen = target.function("dlopen")
        for tid in target.tids():
            with borrowed_thread(target, tid) as thread:
                outcome = thread.run([Call(dlopen, (addition, RTLD_NOW))], timeout=5)
            assert isinstance(outcome, Returned)
            assert outcome.results[0]
        assert complaints(target) == set()
