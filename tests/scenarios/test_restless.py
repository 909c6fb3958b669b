"""Processes that change under our eyes: their link map, their descriptors, their children."""

import os
from pathlib import Path

import pytest

from libswap.operations.moves import Moved, Refused
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.alone]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
PROGRAM = """
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int next(void);
static atomic_long rounds;
static void *work(void *p) { for (;;) { WORK; rounds++; } }
int main(void) {
    for (int i = 0; i < 2; i++) { pthread_t t; if (pthread_create(&t, 0, work, 0)) return 9; }
    while (!rounds) usleep(100);
    ready();
    while (asked()) answer(next());
}
"""
LOADING = (
    'static const char *names[] = {"libm.so.6", "libresolv.so.2", "libutil.so.1", "librt.so.1",'
    ' "libanl.so.1"}; for (int i = 0; i < 5; i++) { void *h = dlopen(names[i], RTLD_NOW);'
    " if (h) dlclose(h); }"
)
CLOSING = "syscall(SYS_close_range, 3, ~0U, 0)"
FORKING = "pid_t c = fork(); if (!c) _exit(0); int s; waitpid(c, &s, 0)"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def program(stage: Stage, work: str) -> Path:
    return stage.program(
        PROGRAM.replace("WORK", work), "-include", "stdatomic.h", "-include", str(stage.header),
        "-pthread",
    )  # fmt: skip


@pytest.mark.scenario("processes", ("changing its link map all the time", "forking all the time"),
                      live="works")  # fmt: skip
@pytest.mark.parametrize("work", [LOADING, FORKING], ids=["loading", "forking"])
def test_it_is_moved_while_it_changes(stage: Stage, work: str) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    with stage.running(program(stage, work)) as target:
        assert target.ask() == "11"
        for count in range(2, 8):
            version = 1 + (count + 1) % 2
            stage.install(builds[version - 1])
            stage.moved(target, wait=60.0)
            assert target.ask() == str(count * 10 + version)
        assert isinstance(reverted([target.pid], wait=60.0)[0], Moved)
        assert target.ask()[0] == "8"


@pytest.mark.scenario("processes", ("closing all descriptors all the time",),
                      live="refused in the linker's words, or works")  # fmt: skip
def test_one_that_closes_every_descriptor_is_as_it_was(stage: Stage) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    with stage.running(program(stage, CLOSING)) as target:
        count, version = 1, 1
        assert target.ask() == "11"
        for _ in range(5):
            stage.install(builds[2 - version])
            outcome = stage.swap(target)
            count += 1
            if isinstance(outcome, Moved):
                version = 3 - version
            else:
                assert isinstance(outcome, Refused)
                assert outcome.error == "LoadFailed"
                stage.install(builds[version - 1])
            assert target.ask() == str(count * 10 + version), outcome
        assert {f.name for f in Path(f"/proc/{target.pid}/fd").iterdir()} == {"0", "1", "2"}


@pytest.mark.scenario("processes", ("fork-heavy: children that were made before are moved",),
                      live="works")  # fmt: skip
def test_children_are_moved_with_their_parent(stage: Stage) -> None:
    builds = [stage.build(LIBRARY, version=v) for v in (1, 2)]
    stage.install(builds[0])
    forking = (
        "#include <unistd.h>\nint next(void);\nint main(void) { for (int i = 0; i < 4; i++) {"
        " next(); if (!fork()) for (;;) pause(); } ready(); while (asked()) answer(next()); }\n"
    )
    made = stage.program(forking, "-include", str(stage.header))
    with stage.running(made) as target:
        children = Path(f"/proc/{target.pid}/task/{target.pid}/children").read_text().split()
        try:
            stage.install(builds[1])
            report = swap_library(Request(stage.place))
            moved = {p.pid for p in report.processes if isinstance(p.outcome, Moved)}
            assert moved == {target.pid, *map(int, children)}
            assert target.ask() == "52"
        finally:
            for child in children:
                os.kill(int(child), 9)
