from collections.abc import Callable

import pytest

from libswap.linux import tracer
from libswap.live.thread import Thread, live_threads
from libswap.live.tracee import let_go
from support.compiler import Compiler
from support.target import running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]

MAKES_ONE_WHEN_TOLD = """
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *stay(void *p) { for (;;) pause(); }
int main(void)
{
    pthread_t thread;
    puts("ready"); fflush(stdout);
    getchar();
    if (pthread_create(&thread, NULL, stay, NULL)) return 1;
    puts("made"); fflush(stdout);
    getchar();
    return 0;
}
"""


@pytest.mark.parametrize("on", [lambda work: work(), tracer.traced], ids=["main", "tracer"])
def test_one_that_was_made_under_our_eyes_is_ours_already(
    compiler: Compiler, on: Callable[[Callable[[], None]], None]
) -> None:
    with running(compiler.program(MAKES_ONE_WHEN_TOLD, "-pthread", name="maker")) as target:

        def work() -> None:
            leader = Thread(target.pid, target.pid)
            leader.seize(and_newborn=True)
            target.say("make")
            while len(live_threads(target.pid)) == 1:
                pass
            made = Thread(target.pid, max(live_threads(target.pid)))
            made.seize()  # as when it is found in /proc before its maker's event is
            let_go([leader, made])

        on(work)
        assert target.line() == "made"
