"""Whoever kept the address of a function reaches the patch, and who is inside is waited for."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.patching import Bench, applied, refused, taken_back

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def bench(compiler: Compiler, tmp_path: Path) -> Bench:
    return Bench(compiler, tmp_path)


def pointers(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("pointers", situations, patch=patch)


@pointers("saved in global, heap, stack, TLS", "callback given to the library")
def test_saved_everywhere(bench: Bench) -> None:
    source = (
        "#include <stdlib.h>\nKEEP long f(long x) { return x + 1; }\ntypedef long (*way)(long);\n"
        "static volatile way global; static __thread volatile way own; static way *heap;\n"
        "static int order(const void *a, const void *b)"
        " { return (int)(*(long *)a - *(long *)b); }\n"
        "__attribute__((constructor)) static void keep(void) { global = own = f;"
        " heap = malloc(8); *heap = f; }\n"
        "long scenario(long x) { volatile way stack = global; long v[3] = {3, 1, 2};"
        " qsort(v, 3, sizeof v[0], order);"
        " return global(x) + own(x) * 100 + (*heap)(x) * 10000 + stack(x) * 1000000 + v[0]; }\n"
    )
    program = bench.program(source)
    bench.tried(program, "long f(long x) { return x + 9; }\n", 6060607, 14141415, question=5)


@pointers("qsort comparator of the library", "signal handler in old code",
          "atexit and pthread_key destructors in old code")  # fmt: skip
def test_handlers_that_were_registered_before(bench: Bench) -> None:
    source = (
        "#include <pthread.h>\n#include <signal.h>\n#include <stdlib.h>\n"
        "static volatile long log;\nstatic pthread_key_t key;\n"
        "KEEP void handler(int n) { log += n * 0 + 1; }\n"
        "KEEP void destroy(void *p) { log += *(long *)p * 10; }\n"
        "KEEP int order(const void *a, const void *b) { return (int)(*(long *)a - *(long *)b); }\n"
        "static int (*volatile compare)(const void *, const void *) = order;\n"
        "static void *thread(void *p) { pthread_setspecific(key, p); return p; }\n"
        "long scenario(long x) { static int ready; if (!ready++) { signal(SIGUSR1, handler);"
        " pthread_key_create(&key, destroy); }\n"
        " log = 0; raise(SIGUSR1); pthread_t t; pthread_create(&t, 0, thread, &x);"
        " pthread_join(t, 0); long v[3] = {3, 1, 2}; qsort(v, 3, sizeof v[0], compare);"
        " return log + 1000 * v[0]; }\n"
    )
    fix = (
        "extern volatile long log;\nvoid handler(int n) { log += 2 + n * 0; }\n"
        "void destroy(void *p) { log += *(long *)p * 20; }\n"
        "int order(const void *a, const void *b) { return (int)(*(long *)b - *(long *)a); }\n"
    )
    bench.tried(bench.program(source), fix, 1051, 3102, question=5)


WAITING = """
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>
static int pipes[2];
static jmp_buf back;
static long result;
static pthread_t thread;
KEEP long sleeper(long x) { char c; if (read(pipes[0], &c, 1) != 1) return -1; return x + 1; }
KEEP long jumper(long x) { char c; if (setjmp(back)) return x + 2;
    if (read(pipes[0], &c, 1) != 1) return -1;
    longjmp(back, 1); }
KEEP int order(const void *a, const void *b) { char c;
    if (read(pipes[0], &c, 1) != 1) return 0; return *(int *)a - *(int *)b; }
KEEP long sorter(long x) { int v[2] = {(int)x, 1};
    qsort(v, 2, sizeof v[0], order); return v[0]; }
static long (*const calls[])(long) = {sleeper, jumper, sorter};
static void *run(void *p) { result = calls[(long)p](5); return p; }
long scenario(long x) {
    if (x < 3) { if (!pipes[1] && pipe(pipes)) return -1;
        return pthread_create(&thread, 0, run, (void *)x); }
    if (x == 3) { if (write(pipes[1], "x", 1) != 1) return -1; pthread_join(thread, 0);
        return result; }
    return 0;
}
"""
ORDER = "int order(const int *a, const int *b) { return *b - *a; }\n"
INSIDE = {
    0: ("sleeper", "long sleeper(long x) { return x + 70; }\n", 6, 75),
    1: ("jumper", "long jumper(long x) { return x + 70; }\n", 7, 75),
    2: ("order", ORDER, 1, 5),
}


@pointers(
    "jmp_buf into old code",
    "qsort comparator in flight",
    patch="refused by name while a call runs; --relaxed lets it end in the old code",
)
@pytest.mark.parametrize("which", INSIDE)
def test_a_call_in_flight_ends_in_the_old_code(bench: Bench, which: int) -> None:
    name, fix, old, new = INSIDE[which]
    program = bench.program(WAITING)
    path = bench.patch(program, fix)
    with bench.running(program) as process:
        assert process.scenario(which) == 0
        found = refused(path, process.pid, wait=0.2)
        assert found.error == "CommitBlocked"
        assert name in found.reason
        applied(path, process.pid, relaxed=True)
        assert process.scenario(3) == old, "the running call"
        assert process.scenario(which) == 0
        assert process.scenario(3) == new, "the next one, which reads nothing"
        taken_back(process.pid)
