"""A thread is borrowed only where what it is asked to do cannot deadlock."""

import pytest

from libswap.errors.live import NoSafeThread
from libswap.live.calls import Call, Result, Returned
from support.compiler import Compiler
from support.stopwatch import Parts
from support.target import RTLD_NOW, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler, pytest.mark.alone]


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


WAITS_IN_ITS_CONSTRUCTOR = """
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void wait_here(void)
{
    puts("ready");
    fflush(stdout);
    pause();
}
"""
LOADS = """
#include <dlfcn.h>
int main(int argc, char **argv) { return argc == 2 && dlopen(argv[1], RTLD_NOW) ? 0 : 1; }
"""


def test_return_addresses_that_the_loader_left_on_the_stack_long_ago_do_not_count(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts.made_by(compiler)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(parts.builds[0].parent))
    with running(parts.program, "1", "100") as target, borrowed(target, 2) as thread:
        outcome = thread.run([Call(target.function("abs"), (-7,))], timeout=5)
        assert isinstance(outcome, Returned)
        assert outcome.results[0] == 7


@pytest.mark.scenario("threads", ("holding the loader lock",), live="another thread is borrowed")
def test_a_thread_inside_a_constructor_of_dlopen_is_not_borrowed(compiler: Compiler) -> None:
    library = compiler.library(WAITS_IN_ITS_CONSTRUCTOR)
    with (
        running(compiler.program(LOADS), library) as target,
        pytest.raises(NoSafeThread, match="called from the loader"),
        borrowed(target, 0.3),
    ):
        pass


WAITS = """
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void wait_here(int signal)
{
    void *volatile left[2] = {(char *)malloc + 64, 0}; /* as an earlier call may leave it */
    (void)signal, (void)left;
    puts("ready");
    fflush(stdout);
    WAIT;
}
static void wait_elsewhere(int number)
{
    if (number) {
        puts("ready");
        fflush(stdout);
        WAIT;
    }
}
int main(int count, char **words)
{
    (void)words;
    static char other[1 << 16] __attribute__((aligned(4096)));
    stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
    struct sigaction elsewhere = {.sa_handler = wait_elsewhere, .sa_flags = SA_ONSTACK};
    void *volatile left[2] = {(char *)malloc + 64, 0};
    (void)left;
    signal(SIGUSR1, wait_here);
    sigaltstack(&stack, 0);
    sigaction(SIGUSR2, &elsewhere, 0);
    if (count > 1) raise(words[1][0] == 'h' ? SIGUSR1 : SIGUSR2);
    wait_here(0);
    return 0;
}
"""


def test_a_return_address_into_malloc_does_not_count_where_a_thread_waits_for_events(
    compiler: Compiler,
) -> None:
    program = compiler.program(WAITS.replace("WAIT;", "poll(0, 0, -1);"))
    with running(program) as target, borrowed(target, 2) as thread:
        outcome = thread.run([Call(target.function("abs"), (-7,))], timeout=5)
        assert isinstance(outcome, Returned)
        assert outcome.results[0] == 7


@pytest.mark.parametrize(
    ("wait", "words"),
    [("poll(0, 0, -1)", ("handler",)), ("poll(0, 0, -1)", ("stack",)), ("sleep(99)", ())],
    ids=["in a handler", "in a handler on a stack of its own", "asleep"],
)
def test_it_counts_in_a_signal_handler_and_where_an_allocator_could_wait(
    compiler: Compiler, wait: str, words: tuple[str, ...]
) -> None:
    program = compiler.program(WAITS.replace("WAIT;", f"{wait};"))
    with (
        running(program, *words) as target,
        pytest.raises(NoSafeThread, match="called from the loader or malloc"),
        borrowed(target, 0.3),
    ):
        pass
