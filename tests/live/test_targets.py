"""The target ends, turns into another program, or may not do what is asked of it."""

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from libswap.errors.live import RemoteCallRefused
from libswap.errors.process import ProcessGone, ProcessReplaced, ThreadUnstoppable
from libswap.linux.tracer import traced
from libswap.live import remote
from libswap.live.calls import Call, Returned
from libswap.live.thread import state
from support.compiler import Compiler
from support.target import RTLD_NOW, Target, borrowed, borrowed_thread, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def hang_in(compiler: Compiler, target: Target, tid: int) -> None:
    library = str(compiler.library("live/misfits.c", "-DMISDEED=3")).encode()
    with borrowed_thread(target, tid) as thread:
        thread.run([Call(target.function("dlopen"), (library, RTLD_NOW))], timeout=20)


@pytest.mark.scenario("processes", ("killed while traced",), live="reported: ProcessGone")
def test_a_target_that_is_killed_while_it_works_for_us(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        threading.Timer(0.2, os.kill, (target.pid, signal.SIGKILL)).start()
        with pytest.raises(ProcessGone):
            hang_in(compiler, target, target.pid)
        assert state(target.pid, target.pid) in ("", "Z")


@pytest.mark.scenario("processes", ("exit while traced",), live="reported: ProcessGone")
def test_a_target_that_ends_while_it_works_for_us(compiler: Compiler) -> None:
    with running(compiler.program("live/turncoat.c")) as target:
        threading.Timer(0.2, target.say, ("go",)).start()
        with pytest.raises(ProcessGone):
            hang_in(compiler, target, target.tids()[-1])
        assert state(target.pid, target.pid) in ("", "Z")


@pytest.mark.scenario(
    "processes", ("exec while traced",), live="reported; the new program is untouched"
)
def test_a_target_that_executes_another_program_meanwhile(compiler: Compiler) -> None:
    sleeps = compiler.program("live/sleeps.c")
    with running(compiler.program("live/turncoat.c"), sleeps) as target:
        threading.Timer(0.2, target.say, ("go",)).start()
        with pytest.raises((ProcessReplaced, ProcessGone)):
            hang_in(compiler, target, target.tids()[-1])
        assert target.line() == "ready"
        target.say("report")
        assert target.line().split()[1:3] == ["0", "0"]


def test_a_target_that_may_have_no_more_memory_is_as_before(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        used = int(Path(f"/proc/{target.pid}/statm").read_text().split()[0]) * 4096
        resource.prlimit(target.pid, resource.RLIMIT_AS, (used + 65536, resource.RLIM_INFINITY))
        with pytest.raises(RemoteCallRefused) as caught, borrowed(target):
            pass
        assert caught.value.reason == "ENOMEM"
        resource.prlimit(
            target.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        with borrowed(target) as thread:
            outcome = thread.run([Call(target.function("abs"), (-3,))], timeout=5)
        assert isinstance(outcome, Returned)
        assert outcome.results == (3,)
        target.say("report")
        assert target.line().split()[1:3] == ["0", "0"]


def test_a_thread_that_is_slow_on_its_way_in_or_out_comes_home_by_itself(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(compiler.program("live/sleeps.c")) as target:

        def visit(at: str) -> None:
            monkeypatch.setattr(remote, "_TO_COME_HOME", 0.0 if at == "in" else 5.0)
            with borrowed(target) as thread:
                thread.run([Call(target.function("abs"), (-3,))], timeout=5)
                monkeypatch.setattr(remote, "_TO_COME_HOME", 0.0 if at == "out" else 5.0)

        gave_up = 0
        for at in ("in", "out") * 10:
            try:
                traced(lambda at=at: visit(at))  # type: ignore[misc]
            except ThreadUnstoppable:
                gave_up += 1
            target.say("report")
            assert target.line().split()[1:3] == ["0", "0"], at
        assert gave_up
        traced(lambda: visit("neither"))
