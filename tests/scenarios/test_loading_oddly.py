"""Libraries that come from odd places, ask for odd things or do odd things when they are loaded."""

import shutil
from pathlib import Path

import pytest

from libswap.live.thread import states
from libswap.operations.moves import Skipped
from support.compiler import Compiler
from support.swapping import Stage, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def loading(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("loading", situations, live=live)


LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
STEADY = "int next(void) { return 10 + VERSION; }\n"
PROGRAM = "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n"


@loading("through $ORIGIN")
def test_a_library_found_beside_the_program(stage: Stage, compiler: Compiler) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = compiler.program(
        PROGRAM, "-include", str(stage.header), str(stage.place), "-Wl,-rpath,$ORIGIN"
    )
    program = stage.place.with_name("program")
    shutil.copy(made, program)
    with stage.running(program) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        assert target.ask() == "22"


@loading("from a memfd", live="not applicable: no name leads to it; skipped")
def test_a_library_that_has_no_file_is_left_alone(stage: Stage, compiler: Compiler) -> None:
    program = (
        "#include <dlfcn.h>\n#include <fcntl.h>\n#include <sys/mman.h>\n#include <unistd.h>\n"
        "int main(int c, char **v) { static char b[1 << 20]; char path[64];"
        ' int in = open(v[1], O_RDONLY), out = memfd_create("libscene", 0);'
        " long n = read(in, b, sizeof b); if (write(out, b, n) != n) return 9;"
        ' sprintf(path, "/proc/self/fd/%d", out);'
        ' int (*next)(void) = dlsym(dlopen(path, RTLD_NOW), "next"); ready();'
        " while (asked()) answer(next()); }\n"
    )
    stage.install(stage.build(LIBRARY, version=1))
    made = compiler.program(program, "-include", str(stage.header))
    with stage.running(made, str(stage.place)) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        assert stage.swap(target) == Skipped("it does not use the old library")
        assert target.ask() == "21"


@loading("executable stack asked for", "text relocations")
@pytest.mark.parametrize(
    "flags",
    [("-Wl,-z,execstack",), ("-Wl,-z,notext", '-DIN_TEXT=__asm__(".text; .quad next; .text");')],
    ids=["stack", "text"],
)
def test_a_library_that_wants_more_rights_than_most(stage: Stage, flags: tuple[str, ...]) -> None:
    source = "#ifdef IN_TEXT\nIN_TEXT\n#endif\n" + STEADY
    tried(stage, source, PROGRAM, 11, 12, *flags)


@loading("static TLS exhausted", live="refused: the linker's own words")
def test_thread_local_variables_that_fit_nowhere(stage: Stage) -> None:
    large = (
        '__thread __attribute__((tls_model("initial-exec"))) char large[1 << 16];\n'
        "char *where(void) { return large; }\n"
    )
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY + large, version=2))
        refused = stage.refused(target, force=True)
        assert "cannot allocate memory in static TLS block" in refused.reason
        assert target.ask() == "21"


AT_LOADING = (
    "#include <pthread.h>\n#include <unistd.h>\n#include <sys/wait.h>\n#include <stdatomic.h>\n"
    "static atomic_int ticks;\nstatic void *tick(void *p) { for (;;) { ticks++; usleep(1000); } }\n"
    "static void *once(void *p) { ticks = 1; return p; }\n"
    "__attribute__((constructor)) static void begin(void) { if (VERSION == 2) { DEED } }\n"
    "int next(void) { return 10 + VERSION; }\n"
    "int ticking(void) { int before = ticks; while (ticks == before) usleep(100); return ticks > 0;"
    " }\nint ticked(void) { return ticks; }\n"
)
START = "pthread_t t; pthread_create(&t, 0, tick, 0);"
JOIN = "pthread_t t; pthread_create(&t, 0, once, 0); pthread_join(t, 0);"
FORK = "int s; pid_t c = fork(); if (!c) _exit(7); waitpid(c, &s, 0); ticks = WEXITSTATUS(s) == 7;"
DEEDS = {
    "constructor that starts a thread": (START, "ticking"),
    "constructor that starts a thread and waits for it": (JOIN, "ticked"),
    "constructor that forks": (FORK, "ticked"),
}


@loading(*DEEDS)
@pytest.mark.parametrize("deed", DEEDS)
def test_a_constructor_that_makes_others(stage: Stage, deed: str) -> None:
    code, proof = DEEDS[deed]
    builds = [stage.build(AT_LOADING.replace("DEED", code), "-pthread", version=v) for v in (1, 2)]
    stage.install(builds[0])
    program = (
        "int next(void), ticking(void), ticked(void);\nint main(void) { ready(); while (asked())"
        ' answer(strcmp(line, "proof") ? next() : PROOF()); }\n'
    ).replace("PROOF", proof)
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(builds[1])
        stage.moved(target)
        assert target.ask() == "12"
        assert target.ask("proof") == "1"


def test_a_refused_copy_in_which_a_thread_runs_stays_loaded(stage: Stage) -> None:
    busy = "int busy(int (*ask)(void)) { int n = 0; while (ask()) n++; return n; }\n"
    source = AT_LOADING.replace("DEED", START) + busy
    builds = [stage.build(source, "-pthread", version=v) for v in (1, 2)]
    stage.install(builds[0])
    program = (
        "int next(void), busy(int (*)(void));\nstatic int ask(void) { if (!asked() ||"
        ' !strcmp(line, "stop")) return 0; answer(next()); return 1; }\n'
        "int main(void) { ready(); for (;;) answer(busy(ask)); }\n"
    )
    with stage.running(stage.program(program, "-include", str(stage.header))) as target:
        assert target.ask() == "11"
        stage.install(builds[1])
        assert stage.refused(target, wait=0.2).error == "CommitBlocked"
        assert [target.ask(), target.ask("stop")] == ["11", "2"]
        assert len(states(target.pid)) == 2, "the thread of the new copy lives in it"
        assert target.ask() == "11"
        assert target.ask("stop") == "1"


@loading("constructor that throws", live="refused: the process goes on with the old library")
def test_a_constructor_that_throws_harms_nobody(stage: Stage) -> None:
    source = (
        'static int n;\nextern "C" int next(void) { return ++n * 10 + VERSION; }\n'
        "__attribute__((constructor)) static void begin(void) { if (VERSION == 2) throw 1; }\n"
    )
    stage.install(stage.build(source, "-xc++", version=1, cc="c++"))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(source, "-xc++", version=2, cc="c++"))
        assert "SIGABRT" in stage.refused(target).reason
        assert [target.ask(), target.ask()] == ["21", "31"]


@loading("over 2 GiB away")
def test_a_new_copy_is_really_far_away(stage: Stage) -> None:
    large = LIBRARY + "char large[1 << 20] = {1};\n"
    stage.install(stage.build(large, version=1))
    made = stage.program("live/crowded.c", "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(large, version=2))
        stage.moved(target)
        assert target.ask() == "22"
        old, new = sorted(m.base for m in target.modules() if "libscene" in m.path)
        assert new - old > 2 << 30
