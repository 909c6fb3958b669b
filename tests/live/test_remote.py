import time

import pytest

from libswap.live.calls import Call, Result, Returned
from libswap.live.tracee import Tracee
from support.compiler import Compiler
from support.target import RTLD_NOW, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def test_a_library_is_loaded_by_a_sleeping_thread_that_sleeps_on(compiler: Compiler) -> None:
    addition = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/sleeper.c"), "0.5") as target:
        with borrowed(target) as thread:
            outcome = thread.run(
                [
                    Call(target.function("dlopen"), (addition, RTLD_NOW)),
                    Call(target.function("dlsym"), (Result(0), b"addition"), given=Result(0)),
                    Call(target.function("dlerror"), (), unless=Result(0)),
                    Call(target.function("abs"), (-7,)),
                ],
                timeout=5,
            )
        assert isinstance(outcome, Returned)
        assert outcome.results[1] == target.function("addition", addition)
        assert outcome.results[2] == 0
        assert outcome.results[3] == 7
        assert target.line() == "slept enough"


def test_a_sleep_that_was_stopped_before_outlives_a_constructor_that_sleeps(
    compiler: Compiler,
) -> None:
    source = """
    #include <unistd.h>
    __attribute__((constructor)) static void rest(void) { usleep(50000); }
    """
    library = str(compiler.library(source)).encode()
    with running(compiler.program("live/sleeper.c"), "0.8") as target:
        for _ in range(3):
            with Tracee.seize(target.identity) as tracee:
                tracee.stop(time.monotonic() + 5)
        with borrowed(target) as thread:
            outcome = thread.run([Call(target.function("dlopen"), (library, RTLD_NOW))], timeout=5)
        assert isinstance(outcome, Returned)
        assert outcome.results[0]
        assert target.line() == "slept enough"


def test_a_failing_dlopen_tells_why(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeper.c"), "0.3") as target:
        with borrowed(target) as thread:
            outcome = thread.run(
                [
                    Call(target.function("dlopen"), (b"/nonexistent.so", RTLD_NOW)),
                    Call(target.function("dlerror"), (), unless=Result(0)),
                ],
                timeout=5,
                read_strings=[1],
            )
        assert isinstance(outcome, Returned)
        assert outcome.results[0] == 0
        assert outcome.strings[1].startswith(b"/nonexistent.so: cannot open")
        assert target.line() == "slept enough"
