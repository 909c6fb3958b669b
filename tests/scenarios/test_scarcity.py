"""Little memory, few descriptors, no terminal; many threads; places where threads hold locks."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import Libswap
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
PROGRAM = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
int next(void);
static atomic_int there;
static void *work(void *p) { WORK; }
int main(void) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 16);
    pthread_t t;
    for (int i = 0; i < COUNT; i++) if (pthread_create(&t, &small, work, 0)) return 9;
    while (there < COUNT) usleep(100);
    ready();
    while (asked()) answer(next());
}
"""


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


@contextmanager
def at_work(stage: Stage, count: int = 0, work: str = "pause(); return p") -> Iterator[Target]:
    stage.install(stage.build(LIBRARY, version=1))
    text = PROGRAM.replace("WORK", work).replace("COUNT", str(count))
    made = stage.program(text, "-include", str(stage.header), "-pthread", "-Wno-type-limits")
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        yield target


PLACES = {
    "1": (0, "return p"),
    "8": (8, "there++; for (;;) pause()"),
    "1,000": (1000, "there++; for (;;) pause()"),
    "in stdio with the lock held": (
        1, 'FILE *f = fopen("/dev/null", "w"); flockfile(f); there++; for (;;) fputc_unlocked(7, f)'
    ),
    "in dlsym": (2, 'there++; for (;;) dlsym(RTLD_DEFAULT, "next")'),
    "in fork": (1, "there++; for (;;) { pid_t c = vfork(); if (!c) _exit(0); }"),
}  # fmt: skip


@pytest.mark.scenario("threads", tuple(PLACES), live="works")
@pytest.mark.parametrize("place", PLACES)
def test_threads_at_such_places(stage: Stage, place: str) -> None:
    count, work = PLACES[place]
    with at_work(stage, count, work) as target:
        stage.moved(target, wait=60.0)
        assert [target.ask(), target.ask()] == ["22", "32"]


@pytest.mark.scenario("processes", ("memory cgroup near its limit",), live="works")
@pytest.mark.root
def test_a_process_whose_control_group_has_little_memory_left(stage: Stage) -> None:
    base = Path("/sys/fs/cgroup/memory")
    group = base / f"libswap-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error}")
    try:
        with at_work(stage) as target:
            (group / "cgroup.procs").write_text(str(target.pid))
            (group / "memory.limit_in_bytes").write_text(str(1 << 20))
            try:
                stage.moved(target)
                assert [target.ask(), target.ask()] == ["22", "32"]
            finally:
                (base / "cgroup.procs").write_text(str(target.pid))
    finally:
        group.rmdir()


@pytest.mark.scenario(
    "tool", ("out of descriptors, memory",), live="an exit code, never half a swap"
)
@pytest.mark.parametrize(
    ("what", "limit"), [(resource.RLIMIT_NOFILE, 8), (resource.RLIMIT_AS, 80 << 20)]
)
def test_a_libswap_that_has_too_little(stage: Stage, tmp_path: Path, what: int, limit: int) -> None:
    with at_work(stage) as target:
        words = Libswap(tmp_path / "state").words("live", stage.place, "--pid", target.pid)
        done = subprocess.run(
            words, preexec_fn=lambda: resource.setrlimit(what, (limit, limit)),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        first = target.ask()
        assert first == ("22" if done.returncode == 0 else "21"), done
        stage.swap(target)
        assert target.ask() == "32"


@pytest.mark.scenario("tool", ("terminal gone",), live="works; what cannot be told is not told")
def test_nobody_listens(stage: Stage, tmp_path: Path) -> None:
    with at_work(stage) as target:
        words = Libswap(tmp_path / "state").words("live", stage.place, "--pid", target.pid)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(words, stdout=writer, stderr=writer, check=False)
        os.close(writer)
        assert done.returncode >= 0
        assert target.ask() == "22"


@pytest.mark.scenario("tool", ("exit codes",), live="true for done, partly done, refused, lost")
def test_exit_codes_tell_the_truth(stage: Stage, tmp_path: Path) -> None:
    libswap = Libswap(tmp_path / "state")
    busy = "int next(void), busy(int (*)(void));\nstatic int ask(void) { return asked(); }\n"
    library = LIBRARY + "int busy(int (*ask)(void)) { while (ask()); return 0; }\n"
    stage.install(stage.build(library, version=1))
    idle = stage.program(
        "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n",
        "-include", str(stage.header),
    )  # fmt: skip
    inside = stage.program(
        busy + "int main(void) { ready(); return busy(ask); }\n", "-include", str(stage.header)
    )
    with stage.running(idle) as one, stage.running(inside) as two:
        stage.install(stage.build(library, version=2))
        refused = libswap.here("live", stage.place, "--pid", two.pid, "--wait=0.2")
        assert refused.code == 66, refused
        partly = libswap.here("live", stage.place, "--wait=0.2")
        assert partly.code == 85, partly
        assert libswap.here("live", stage.place, "--pid", one.pid).code == 0
        assert one.ask() == "12"
    gone = libswap.here("live", stage.place, "--pid", one.pid)
    assert gone.code != 0, gone
