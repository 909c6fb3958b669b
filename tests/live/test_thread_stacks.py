"""Which memory is a thread's stack, where nothing lies that lasts."""

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.thread_stacks import thread_stacks
from libswap.process.maps import maps_of
from support.compiler import Compiler
from support.driven import running

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

PROGRAM = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
static int ready[2];
static void *serve(void *argument)
{
    void *here = &argument, *mine = malloc(3000); /* of an arena of its own */
    void *both[] = {here, mine};
    if (write(ready[1], both, sizeof both) < 0) _exit(9);
    for (;;) pause();
}
int main(void)
{
    void *both[2], *there;
    pthread_t thread;
    char *guarded = mmap(0, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(guarded + 4096, 4096, PROT_READ | PROT_WRITE);
    if (pipe(ready) || pthread_create(&thread, 0, serve, 0) || read(ready[0], both, 16) < 0)
        return 9;
    puts("ready");
    printf("%p %p %p %p\\n", (void *)&there, both[0], both[1], guarded + 5000);
    fflush(stdout);
    for (;;) pause();
}
"""


def test_memory_behind_a_guard_is_a_stack_only_with_a_descriptor_on_top(compiler: Compiler) -> None:
    with running([compiler.program(PROGRAM, "-pthread")]) as target:
        places = [int(word, 16) for word in target.line().split()]
        with ProcessMemory(target.pid) as memory:
            stacks = list(thread_stacks(memory, maps_of(target.pid)))
    assert [any(place in stack for stack in stacks) for place in places] == [
        True, True, False, False
    ]  # fmt: skip
