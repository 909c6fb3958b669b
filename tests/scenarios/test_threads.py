"""Busy processes, and calls that do not end."""

import os
from pathlib import Path

import pytest

from libswap.operations.moves import Moved
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.alone]

LIBRARY = (
    "static _Atomic int n;\nint version(void) { return VERSION; }\n"
    "int next(void) { return (n++ % 1000) * 10 + VERSION; }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def threads(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("threads", situations, live=live)


@threads(
    "spinning", "all spinning on fewer cores", "64 in malloc and free", "in dlopen and dlclose",
    "being created and ending",
    "fork-heavy", "a signal every millisecond, on an alternate stack", "64",
)  # fmt: skip
@pytest.mark.parametrize(
    ("work", "count"),
    [("spin", 1), ("spin", 3), ("compute", 64), ("malloc", 8), ("malloc", 64), ("dlopen", 2),
     ("churn", 4), ("fork", 2), ("signals", 2)],
)  # fmt: skip
def test_a_busy_process_is_moved_there_and_back(stage: Stage, work: str, count: int) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program("live/busy.c", "-include", str(stage.header), "-pthread")
    with stage.running(made, work, str(count)) as target:
        assert target.ask("version") == "1"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target, wait=60.0)
        assert target.ask("version") == "2"
        assert target.ask("go on") == "1"
        (outcome,) = reverted([target.pid], wait=60.0)
        assert isinstance(outcome, Moved), outcome
        assert target.ask("version") == "1"
        assert target.ask("go on") == "1"
        assert target.ask("wrong") == "0"


INTERRUPTED = (
    "#include <signal.h>\nint version(void) { return VERSION; }\n"
    "int work(int n) { raise(SIGUSR2); return n * 10 + VERSION; }\n"
)
INTERRUPTS = """
#include <signal.h>
int version(void), work(int);
static void handler(int number) {
    (void)number;
    ready();
    while (asked() && strcmp(line, "return")) answer(0);
}
int main(void) {
    static char other[1 << 16] __attribute__((aligned(4096)));
    sigaltstack(&(stack_t){.ss_sp = other, .ss_size = sizeof other}, 0);
    sigaction(SIGUSR2, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK}, 0);
    answer(work(4));
    while (asked()) answer(version());
}
"""


@threads("interrupted in the library by a handler on a stack of its own",
         live="refused by name; works when it has returned")  # fmt: skip
def test_a_call_below_a_signal_stack_is_seen(stage: Stage) -> None:
    stage.install(stage.build(INTERRUPTED, version=1))
    made = stage.program(INTERRUPTS, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "0"
        stage.install(stage.build(INTERRUPTED, version=2))
        refusal = stage.refused(target, wait=0.3)
        assert refusal.error == "CommitBlocked"
        assert "work" in refusal.reason
        assert target.ask("return") == "41"
        stage.moved(target)
        assert target.ask() == "2"


@threads("64 that do nothing but call", live="refused by name")
def test_threads_of_which_one_is_always_inside_are_named(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program("live/busy.c", "-include", str(stage.header), "-pthread")
    with stage.running(made, "spin", "64") as target:
        stage.install(stage.build(LIBRARY, version=2))
        refused = stage.refused(target, wait=0.5)
        assert refused.error == "CommitBlocked"
        assert "runs in" in refused.reason
        assert target.ask("version") == "1"
        assert target.ask("wrong") == "0"


LONG = (
    "int slow(int (*ask)(void)) { int n = 0; while (ask()) n++; return n * 10 + VERSION; }\n"
    "int version(void) { return VERSION; }\n"
)
EVENTS = (
    "int slow(int (*)(void)), version(void);\nstatic int one(void) { if (!asked() ||"
    ' !strcmp(line, "stop")) return 0; answer(version()); return 1; }\n'
    "int main(void) { ready(); for (;;) answer(slow(one)); }\n"
)


@threads("an event loop inside the library", live="refused by name; works with --relaxed")
def test_a_call_that_never_ends_is_named_and_may_end_in_the_old_code(stage: Stage) -> None:
    stage.install(stage.build(LONG, version=1))
    made = stage.program(EVENTS, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "1"
        stage.install(stage.build(LONG, version=2))
        refused = stage.refused(target, wait=0.2)
        assert refused.error == "CommitBlocked"
        assert "slow of libscene.so" in refused.reason
        assert f"thread {target.pid}" in refused.reason
        assert target.ask() == "1"
        stage.moved(target, relaxed=True)
        assert target.ask() == "2", "what the loop calls is new"
        assert target.ask("stop").endswith("1"), "the running call ended in the old code"
        assert target.ask() == "2"
        assert target.ask("stop").endswith("2")


def processes(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("processes", situations, live=live)


FORKING = (
    "#include <unistd.h>\nint next(void);\nint main(void) { ready(); while (asked()) {"
    ' if (!strcmp(line, "fork")) { int child = fork(); if (!child) for (;;) pause();'
    " answer(child); } else answer(next()); } }\n"
)


@processes("a process whose parent was swapped")
def test_a_child_of_a_swapped_process_carries_the_record(stage: Stage) -> None:
    source = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
    stage.install(stage.build(source, version=1))
    made = stage.program(FORKING, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(source, version=2))
        stage.moved(target)
        child = int(target.ask("fork"))
        try:
            stage.install(stage.build(source, version=3))
            report = swap_library(Request(stage.place))
            moved = {p.pid for p in report.processes if isinstance(p.outcome, Moved)}
            assert {target.pid, child} <= moved
            assert target.ask() == "23"
            (outcome,) = reverted([child])
            assert isinstance(outcome, Moved), outcome
            assert target.ask() == "33", "the parent is its own"
        finally:
            os.kill(child, 9)


@processes("mount namespace without the file")
@pytest.mark.namespaces
def test_a_process_that_cannot_see_the_new_file_gets_it_handed_over(stage: Stage) -> None:
    source = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
    stage.install(stage.build(source, version=1))
    made = stage.program(
        "#include <sched.h>\n#include <sys/mount.h>\nint next(void);\nint main(int c, char **v) {"
        ' if (unshare(CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)'
        ' || mount("none", v[1], "tmpfs", 0, 0)) return 9; ready();'
        " while (asked()) answer(next()); }\n",
        "-include", str(stage.header),
    )  # fmt: skip
    with stage.running(made, str(stage.place.parent)) as target:
        assert target.ask() == "11"
        stage.install(stage.build(source, version=2))
        stage.moved(target)
        assert target.ask() == "22"
