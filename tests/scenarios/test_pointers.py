"""Pointers that were saved before the swap go on to work, and reach the new library."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.swapping import Stage, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def pointers(*situations: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("pointers", situations, live="works")


@pointers("saved in global, heap, stack, TLS")
def test_saved_in_every_kind_of_memory(stage: Stage) -> None:
    library = "int f(int x) { return x * 10 + VERSION; }\n"
    program = (
        "int f(int);\nstatic int (*global)(int) = f;\nstatic __thread int (*tls)(int);\n"
        "int main(void) { int (**heap)(int) = malloc(sizeof *heap); *heap = f; tls = f;"
        " int (*volatile stack)(int) = f; ready(); while (asked())"
        " answer(global(1) + 100 * (*heap)(2) + 10000 * stack(3) + 1000000 * tls(4)); }\n"
    )
    tried(stage, library, program, 41312111, 42322212)


@pointers("callback given to the library")
def test_callbacks_registered_into_the_library(stage: Stage) -> None:
    library = (
        "static int (*hooks[4])(int); static int count;\n"
        "static int own(int x) { return x + VERSION; }\n"
        "void hook(int (*f)(int)) { if (!count) hooks[count++] = own; hooks[count++] = f; }\n"
        "int fire(int x) { int s = 1000 * VERSION; for (int i = 0; i < count; i++)"
        " s += hooks[i](x); return s; }\n"
    )
    program = (
        "void hook(int (*)(int)); int fire(int);\nstatic int twice(int x) { return 2 * x; }\n"
        "int main(void) { hook(twice); ready(); while (asked()) answer(fire(10)); }\n"
    )
    tried(stage, library, program, 1031, 2032)


@pointers("signal handler in old code")
def test_a_signal_handler_of_the_library(stage: Stage) -> None:
    library = (
        "#include <signal.h>\nstatic volatile int seen;\n"
        "static void handler(int n) { seen = seen * 10 + VERSION; }\n"
        "void install(void) { signal(SIGUSR1, handler); }\n"
        "int last(void) { raise(SIGUSR1); return seen % 10; }\n"
    )
    program = (
        "void install(void); int last(void);\n"
        "int main(void) { install(); ready(); while (asked()) answer(last()); }\n"
    )
    tried(stage, library, program, 1, 2)


@pointers("atexit and pthread_key destructors in old code")
def test_what_was_registered_for_later_runs_once_in_the_new_code(stage: Stage) -> None:
    library = (
        "#include <stdlib.h>\n#include <unistd.h>\n#include <pthread.h>\n"
        "static pthread_key_t key; static char told[] = {'0' + VERSION, '\\n'};\n"
        "static void end(void) { char c[] = {'e', '0' + VERSION, '\\n'}; write(1, c, 3); }\n"
        "static void gone(void *p) { char c[] = {'k', '0' + VERSION, '\\n'}; write(1, c, 3); }\n"
        "void begin(void) { atexit(end); pthread_key_create(&key, gone); }\n"
        "void *work(void *p) { pthread_setspecific(key, told); pthread_exit(0); }\n"
    )
    program = (
        "#include <pthread.h>\nvoid begin(void); void *work(void *);\n"
        "int main(void) { begin(); ready(); asked(); pthread_t t;"
        " pthread_create(&t, 0, work, 0); pthread_join(t, 0); asked(); exit(0); }\n"
    )
    stage.install(stage.build(library, version=1))
    made = stage.program(program, "-include", str(stage.header))
    with stage.ending(made) as target:
        stage.install(stage.build(library, version=2))
        stage.moved(target)
        assert target.ask() == "k2"
        assert target.ask() == "e2"
        assert target.ended() == (0, "")


@pointers("qsort comparator of the library")
def test_a_comparator_of_the_library(stage: Stage) -> None:
    library = (
        "static int compare(const void *a, const void *b) { int d = *(int *)a - *(int *)b;"
        " return VERSION == 1 ? d : -d; }\n"
        "int (*comparator(void))(const void *, const void *) { return compare; }\n"
    )
    program = (
        "int (*comparator(void))(const void *, const void *);\n"
        "int main(void) { int (*kept)(const void *, const void *) = comparator(); ready();"
        " while (asked()) { int v[] = {3, 1, 2}; qsort(v, 3, sizeof *v, kept);"
        " answer(v[0] * 100 + v[1] * 10 + v[2]); } }\n"
    )
    tried(stage, library, program, 123, 321)


@pointers("qsort comparator in flight")
def test_a_comparator_of_the_library_while_it_sorts(stage: Stage) -> None:
    """It leaves by a tail call: the thread waits in the program, and qsort(3) has the pointer."""
    library = (
        "int up(const void *, const void *), down(const void *, const void *);\n"
        "static int compare(const void *a, const void *b) {"
        " return VERSION == 1 ? up(a, b) : down(a, b); }\n"
        "int (*comparator(void))(const void *, const void *) { return compare; }\n"
    )
    program = (
        "int (*comparator(void))(const void *, const void *);\nstatic int ups, downs, quick;\n"
        "int up(const void *a, const void *b) { if (!ups++) { answer(0); asked(); }"
        " return *(int *)a - *(int *)b; }\n"
        "int down(const void *a, const void *b) { downs++; return *(int *)b - *(int *)a; }\n"
        "int main(void) { ready(); asked(); int v[] = {3, 1, 2, 5, 4}; qsort(v, 5, sizeof *v,"
        " comparator()); answer(ups * 100 + (downs > 2)); while (asked()) answer(7); }\n"
    )
    stage.install(stage.build(library, "-Wl,--unresolved-symbols=ignore-all", version=1))
    made = stage.program(program, "-include", str(stage.header), "-rdynamic")
    with stage.running(made) as target:
        assert target.ask() == "0", "the first comparison has begun"
        stage.install(stage.build(library, "-Wl,--unresolved-symbols=ignore-all", version=2))
        stage.moved(target)
        assert target.ask() == "101", "all others were made by the new one"


@pointers("prelink-style pointers in data")
def test_tables_of_pointers_in_every_module(stage: Stage) -> None:
    library = (
        "int a(void) { return VERSION; }\nint b(void) { return 10 * VERSION; }\n"
        "int (*const table[])(void) = {a, b};\nint (*writable[])(void) = {b, a};\n"
        "int both(int i) { return table[i]() + 100 * writable[i](); }\n"
    )
    program = (
        "int a(void), b(void), both(int);\nstatic int (*const mine[])(void) = {a, b};\n"
        "extern int (*writable[])(void);\n"
        "int main(void) { ready(); while (asked()) answer(mine[0]() + mine[1]() * 10 +"
        " 1000 * both(0) + writable[0]() * 10000000); }\n"
    )
    for flags in ((), ("-fPIC",), ("-no-pie",)):
        tried(stage, library, program, 101001101, 202002202, link=flags)
