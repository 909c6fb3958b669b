"""A thread is borrowed only where what it is asked to do cannot deadlock."""

import pytest

from libswap.live.calls import Call, Result, Returned
from support.compiler import Compiler
from support.target import RTLD_NOW, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


@pytest.mark.parametrize(("threads", "times"), [(8, 50), (64, 10)])
def test_fifty_loads_amid_threads_that_allocate_and_load(
    compiler: Compiler, threads: int, times: int
) -> None:
    busy = compiler.library("live/addition.c", name="libbusy.so")
    path = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/allocators.c", "-O1"), str(threads), busy) as target:
        dlopen, dlclose = target.function("dlopen"), target.function("dlclose")
        for _ in range(times):
            with borrowed(target) as thread:
                outcome = thread.run(
                    [Call(dlopen, (path, RTLD_NOW)), Call(dlclose, (Result(0),), given=Result(0))],
                    timeout=10,
                )
            assert isinstance(outcome, Returned)
            assert outcome.results[0]
            assert outcome.results[1] == 0
        target.say("report")
        rounds, loads, faults = map(int, target.line().split())
        assert rounds > 1000
        assert loads > 100
        assert faults == 0
