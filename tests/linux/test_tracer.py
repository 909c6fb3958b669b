"""The thread that traces: what it gives, raises and leaves behind."""

import os
import signal
import threading
from pathlib import Path

import pytest

from libswap.errors.process import ThreadUnstoppable
from libswap.linux.tracer import traced
from libswap.live.thread import Thread, tracer
from support.compiler import Compiler
from support.target import running


def test_it_gives_what_the_work_gives_and_raises_what_it_raises() -> None:
    assert traced(threading.get_native_id) != threading.get_native_id()

    def fail() -> None:
        raise ThreadUnstoppable(1, 2, "D")

    with pytest.raises(ThreadUnstoppable):
        traced(fail)


@pytest.mark.ptrace
@pytest.mark.compiler
def test_the_kernel_lets_go_what_it_left_behind(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        traced(Thread(target.pid, target.pid).seize)
        assert tracer(target.pid, target.pid) == 0
        target.say("report")
        assert target.line().split()[1:3] == ["0", "0"]


def test_an_interruption_reaches_it_and_it_cleans_up_first() -> None:
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass
        finally:
            cleaned.append(threading.get_native_id())

    with pytest.raises(KeyboardInterrupt):
        traced(work)
    assert cleaned
    assert not Path(f"/proc/self/task/{cleaned[0]}").exists()
