"""Processes on their way out: within exit(3), its handlers and the destructors of libraries."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = """
#include <stdio.h>
static int n;
int next(void) { return ++n * 10 + VERSION; }
__attribute__((destructor)) static void last(void) { printf("last %d\\n", next()); }
"""
# What runs at the end answers questions, as long as there are any.
PROGRAM = """
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
int next(void);
static void serve(void) { ready(); while (asked() && strcmp(line, "go")) answer(next()); }
static void stop(int s) { (void)s; exit(3); }
static void *other(void *p) { for (;;) pause(); return p; }
int main(void) {
    signal(SIGTERM, stop);
    atexit(serve);
    pthread_t t;
    if (THREADS && pthread_create(&t, 0, other, 0)) return 9;
    if (ON_SIGNAL) raise(SIGTERM);
    return 3;
}
"""
INSIDE = """
#include <unistd.h>
static int n;
int next(void) { return ++n * 10 + VERSION; }
#if VERSION == 1  /* a new copy that is not used after all is unloaded, and ends then */
__attribute__((destructor)) static void last(void) {
    char c;
    write(1, "ready\\n", 6);
    while (read(0, &c, 1) == 1 && c != 'g') { char s[] = {'0' + VERSION, '\\n'}; write(1, s, 2); }
    write(1, "gone\\n", 5);
}
#endif
"""


def threads(*situations: str, live: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("threads", situations, live=live)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


@threads("in exit: an atexit handler runs", live="works; destructors run once, of the new library")
@pytest.mark.parametrize("on_signal", [0, 1], ids=["returned", "in a signal handler"])
@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside a thread"])
def test_a_process_within_its_handlers_at_exit(stage: Stage, on_signal: int, others: int) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(
        PROGRAM, "-include", str(stage.header), f"-DON_SIGNAL={on_signal}", f"-DTHREADS={others}",
        "-pthread",
    )  # fmt: skip
    with stage.ending(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        assert target.ask() == "22"
        assert target.ask("go") == "last 32"
        assert target.ended() == (3, "")


@threads(
    "in exit: a destructor of the old library runs", live="refused by name; it ends as it would"
)
def test_a_process_within_the_old_librarys_destructor(stage: Stage) -> None:
    stage.install(stage.build(INSIDE, version=1))
    made = stage.program("int next(void);\nint main(void) { return next() - 11; }\n")
    with stage.ending(made) as target:
        stage.install(stage.build(INSIDE, version=2))
        refused = stage.refused(target, wait=0.3)
        assert refused.error == "CommitBlocked", refused
        assert target.ask() == "1"
        assert target.ask("go") == "gone"
        assert target.ended() == (0, "")
