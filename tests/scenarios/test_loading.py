"""However the library was loaded, and whatever happens when the new one is."""

import os
import shutil
from pathlib import Path

import pytest

from libswap.operations.moves import Moved
from libswap.operations.swap import Request, swap_library
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def loading(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("loading", situations, live=live)


LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
OPENER = (
    "#include <dlfcn.h>\n"
    'int main(int c, char **v) { void *h = %s; int (*next)(void) = dlsym(h, "next"); ready();'
    ' while (asked()) { if (!strcmp(line, "again")) { void *g = dlopen(v[1], RTLD_NOW);'
    ' int (*f)(void) = dlsym(g, "next"); answer(f()); dlclose(g); }'
    ' else if (!strcmp(line, "close")) { dlclose(h); h = 0; answer(0); }'
    " else answer(next()); } }\n"
)
WAYS = {
    "dlopen local": "dlopen(v[1], RTLD_NOW)",
    "dlopen global": "dlopen(v[1], RTLD_NOW | RTLD_GLOBAL)",
    "deepbind": "dlopen(v[1], RTLD_LAZY | RTLD_DEEPBIND)",
    "nodelete": "dlopen(v[1], RTLD_NOW | RTLD_NODELETE)",
    "dlmopen namespace": "dlmopen(LM_ID_NEWLM, v[1], RTLD_NOW)",
}


@loading(*WAYS, "a later dlopen, dlsym and dlclose by the application itself")
@pytest.mark.parametrize("way", WAYS)
def test_libraries_that_the_program_opened_itself(stage: Stage, way: str) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.compiler.program(OPENER % WAYS[way], "-include", str(stage.header))
    with stage.running(made, str(stage.place)) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        assert target.ask() == "22"
        if "namespace" not in way:
            assert target.ask("again") == "32", "the same path gives the new one"
            assert target.ask() == "42"
            reverted([target.pid])
            assert [target.ask(), target.ask("again")] == ["51", "61"]
            stage.moved(target)
            target.ask("close")
            assert target.ask("again") == "72", "our own reference keeps the old copy"


@loading("in two link-map namespaces")
def test_every_namespace_is_moved(stage: Stage) -> None:
    program = (
        "#include <dlfcn.h>\nint main(int c, char **v) {"
        ' int (*a)(void) = dlsym(dlopen(v[1], RTLD_NOW), "next");'
        ' int (*b)(void) = dlsym(dlmopen(LM_ID_NEWLM, v[1], RTLD_NOW), "next"); b(); ready();'
        " while (asked()) answer(a() * 100 + b()); }\n"
    )
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.compiler.program(program, "-include", str(stage.header))
    with stage.running(made, str(stage.place)) as target:
        assert target.ask() == "1121"
        stage.install(stage.build(LIBRARY, version=2))
        report = swap_library(Request(stage.place, pids=(target.pid,)))
        assert [type(p.outcome) for p in report.processes] == [Moved, Moved], report
        assert target.ask() == "2232"


@loading("from a relative path", "from a deleted file")
def test_a_library_that_was_opened_by_a_relative_path(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    opener = OPENER % 'dlopen("./libscene.so", RTLD_NOW)'
    made = stage.compiler.program(opener, "-include", str(stage.header))
    here = Path.cwd()
    os.chdir(stage.place.parent)
    try:
        with stage.running(made, str(stage.place)) as target:
            assert target.ask() == "11"
            stage.install(stage.build(LIBRARY, version=2))
            stage.moved(target)
            assert target.ask() == "22"
    finally:
        os.chdir(here)


@loading("several modules and several libraries that call each other, swapped one after the other")
def test_libraries_that_call_each_other(stage: Stage, compiler: Compiler, tmp_path: Path) -> None:
    upper = Stage(compiler, tmp_path / "libupper.so")
    lower_source = "static int n;\nint low(void) { return ++n * 10 + VERSION; }\n"
    upper_source = "int low(void);\nint high(void) { return low() * 10 + VERSION; }\n"
    stage.install(stage.build(lower_source, version=1))
    link = (str(stage.place), f"-Wl,-rpath,{tmp_path}")
    upper.install(upper.build(upper_source, *link, version=1))
    made = upper.program(
        "int high(void), low(void);\nint main(void) { ready(); while (asked())"
        " answer(high() * 1000 + low()); }\n", "-include", str(stage.header), *link,
    )  # fmt: skip
    with upper.running(made) as target:
        assert target.ask() == "111021"
        stage.install(stage.build(lower_source, version=2))
        upper.install(upper.build(upper_source, *link, version=2))
        stage.moved(target)
        assert target.ask() == "321042"
        upper.moved(target)
        assert target.ask() == "522062"
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "721082"
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "911101"


PROGRAM = "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n"
BAD = {
    "constructor that crashes": ("int *volatile nowhere = (int *)8; *nowhere = 1;", "SIGSEGV"),
    "constructor that aborts": ("abort();", "SIGABRT"),
    "constructor that hangs": ("for (;;) pause();", "did not come back"),
    "constructor that exits": ("_exit(3);", "end the process"),
}


@loading(*BAD, live="refused: the process goes on with the old library")
@pytest.mark.parametrize("kind", BAD)
def test_a_constructor_that_goes_wrong_harms_nobody(stage: Stage, kind: str) -> None:
    code, words = BAD[kind]
    bad = (
        "#include <stdlib.h>\n#include <unistd.h>\n__attribute__((constructor))"
        f" static void begin(void) {{ if (VERSION == 2) {{ {code} }} }}\n{LIBRARY}"
    )
    stage.install(stage.build(bad, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(bad, version=2))
        assert words in stage.refused(target, constructors=1.0).reason
        assert [target.ask(), target.ask()] == ["21", "31"]


@loading("missing dependency", "newer GLIBC version", live="refused with the linker's own words")
def test_a_library_that_cannot_be_loaded_is_refused(stage: Stage, compiler: Compiler) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    other = compiler.library("int z(void) { return 0; }\n", name="libgone.so", soname="libgone.so")
    with stage.running(made) as target:
        stage.install(
            stage.build("int z(void);\n" + LIBRARY + "int y(void) { return z(); }\n", str(other),
                        version=2)
        )  # fmt: skip
        refused = stage.refused(target, force=True)
        assert "libgone.so" in refused.reason
        assert target.ask() == "11"


@loading("over 2 GiB away")
def test_a_new_copy_far_away_is_reached_through_the_gates(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from libswap.live import gate  # noqa: PLC0415

    monkeypatch.setattr(gate, "_REACH_OF_TARGETS", 1)
    stage.install(stage.build(LIBRARY, version=1))
    program = PROGRAM.replace("int main", "int (*kept)(void) = next;\nint main").replace(
        "answer(next())", "answer(kept())"
    )
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        assert target.ask() == "22"


@loading("the C library, the allocator", live="refused: c-library, allocator")
def test_the_allocator_is_refused(stage: Stage) -> None:
    source = (
        "#include <stddef.h>\nvoid *malloc(size_t n) { static char b[1 << 20]; static size_t u;"
        " void *p = b + u; u += (n + 15) & ~15ul; return p; }\nvoid free(void *p) {}\n" + LIBRARY
    )
    stage.install(stage.build(source, version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        stage.install(stage.build(source, version=2))
        assert "allocator" in stage.refused(target, force=True).reason
        assert target.ask() == "11"


@loading("loaded twice under two names", live="refused: loaded-twice")
def test_a_new_copy_that_the_program_uses_already_is_left_alone(
    stage: Stage, tmp_path: Path
) -> None:
    program = (
        "#include <dlfcn.h>\nint main(int c, char **v) { int (*a)(void) = dlsym(dlopen(v[1],"
        ' RTLD_NOW), "next"), (*b)(void) = dlsym(dlopen(v[2], RTLD_NOW), "next"); ready();'
        " while (asked()) answer(a() * 100 + b()); }\n"
    )
    stage.install(stage.build(LIBRARY, version=1))
    other = tmp_path / "libother.so"
    shutil.copy(stage.build(LIBRARY, version=2), other)
    made = stage.compiler.program(program, "-include", str(stage.header))
    with stage.running(made, str(stage.place), str(other)) as target:
        assert target.ask() == "1112"
        stage.install(stage.build(LIBRARY, version=2))
        assert "loaded-twice" in stage.refused(target).reason
        assert target.ask() == "2122"
