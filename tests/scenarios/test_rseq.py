"""Restartable sequences (rseq(2)): a thread that we stopped in one begins it anew, or goes on."""

import signal
import time
from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.linux.tracer import traced
from libswap.live.choice import unfit
from libswap.live.stacks import Areas
from libswap.live.tracee import Tracee
from libswap.operations.moves import Refused
from libswap.process.identity import Identity
from libswap.process.maps import maps_of
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
# Each sequence adds 1 to the counter of its processor, and takes long about it: two threads of one
# processor, or one that goes on where it was stopped on another, would lose counts.
SEQUENCE = """
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/rseq.h>
#include <unistd.h>
int next(void);
static volatile int enough;
static long counters[1024 * 8], aborts;
static struct rseq *area(void) {
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}
static int count(long spins) {  /* whether it came to its end */
    int done;
    __asm__ volatile(
        ".pushsection .data.rseq_sections, \\"aw\\"\\n.balign 32\\n"
        "3: .long 0, 0\\n.quad 1f, 2f - 1f, 4f\\n.popsection\\n"
        "movl $1, %0\\n"
        "5: leaq 3b(%%rip), %%rax\\n movq %%rax, 8(%1)\\n"
        "1: movl 4(%1), %%ecx\\n shlq $6, %%rcx\\n movq (%2, %%rcx), %%rdx\\n incq %%rdx\\n"
        " movq %3, %%rax\\n"
        "6: decq %%rax\\n jnz 6b\\n"
        " movq %%rdx, (%2, %%rcx)\\n"
        "2:\\n"
        ".pushsection .text.rseq_aborts, \\"ax\\"\\n.byte 0x0f, 0xb9, 0x3d\\n.long 0x53053053\\n"
        "4: lock incq %4\\n cmpl $0, %5\\n je 5b\\n xorl %0, %0\\n jmp 2b\\n.popsection\\n"
        : "=&r"(done) : "r"(area()), "r"(counters), "r"(spins), "m"(aborts), "m"(enough)
        : "rax", "rcx", "rdx", "memory", "cc");
    return done;
}
static long counted(void) {
    long sum = 0;
    for (int i = 0; i < 1024; i++) sum += counters[i * 8];
    return sum;
}
"""
COUNTING = """
static long own[4];
static void *work(void *p) {
    while (!enough) *(long *)p += count(20000);
    return p;
}
int main(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++) if (pthread_create(&t[i], 0, work, &own[i])) return 9;
    ready();
    while (asked()) {
        if (!strcmp(line, "has")) answer(__rseq_size > 0);
        else if (!strcmp(line, "aborts")) answer(aborts);
        else if (strcmp(line, "lost")) answer(next());
        else {
            long lost = 0;
            enough = 1;
            for (int i = 0; i < 4; i++) pthread_join(t[i], 0), lost += own[i];
            answer(lost - counted());
        }
    }
}
"""
# The only thread is in a sequence without end; a signal takes it out.
ENDLESS = """
static void leave(int s) { (void)s; enough = 1; }
int main(void) {
    signal(SIGUSR1, leave);
    if (!__rseq_size) return 9;
    ready();
    int done = count(INT64_MAX);
    while (asked()) answer(strcmp(line, "counted") ? next() : done + counted());
}
"""


def sequences(situation: str, live: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("threads", (situation,), live=live)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    stage = Stage(compiler, tmp_path / "libscene.so")
    stage.install(stage.build(LIBRARY, version=1))
    return stage


def made(stage: Stage, source: str) -> Path:
    return stage.program(SEQUENCE + source, "-include", str(stage.header), "-pthread")


def require_sequences(target: Target) -> None:
    if target.ask("has") != "1":
        pytest.skip("the C library registers no rseq area here")


@sequences("inside restartable sequences (rseq)", live="works; one that was stopped restarts")
def test_a_sequence_that_is_stopped_begins_anew(stage: Stage) -> None:
    with stage.running(made(stage, COUNTING)) as target:
        require_sequences(target)
        assert target.ask() == "11"
        before = int(target.ask("aborts"))
        for turn in range(2, 12, 2):
            stage.install(stage.build(LIBRARY, version=2))
            stage.moved(target)
            assert target.ask() == f"{turn}2"
            (outcome,) = reverted([target.pid])
            assert target.ask() == f"{turn + 1}1", outcome
        assert int(target.ask("aborts")) > before
        assert target.ask("lost") == "0"


@sequences("always inside one restartable sequence", live="works where its stop has ended that")
def test_a_thread_within_a_sequence_is_not_borrowed(stage: Stage) -> None:
    with stage.running(made(stage, ENDLESS)) as target:
        assert "is inside a restartable sequence" in traced(lambda: judged(target.pid))
        stage.install(stage.build(LIBRARY, version=2))
        # A stop makes the kernel send it to the place where it begins anew: it can be met there.
        first = stage.swap(target, wait=0.3)
        target.process.send_signal(signal.SIGUSR1)
        assert target.ask("counted") == "0"
        if isinstance(first, Refused):
            assert "is inside a restartable sequence" in first.reason
            stage.moved(target)
        assert target.ask() == "12"


def judged(pid: int) -> set[str | None]:
    """What stands in the way of borrowing its only thread, each time it is stopped."""
    found = set()
    with ProcessMemory(pid) as memory:
        for _ in range(50):
            with Tracee.seize(Identity.of(pid)) as tracee:
                tracee.stop(time.monotonic() + 10)
                (thread,) = tracee.threads.values()
                found.add(unfit(thread, memory, maps_of(pid), Areas(())))
    return found
