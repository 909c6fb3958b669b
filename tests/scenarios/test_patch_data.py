"""What a patch does to the target's data: nothing but what its code does."""

from pathlib import Path

import pytest

from libswap.errors.patch import PatchRefused, PatchUnlinkable
from support.compiler import Compiler
from support.patching import Bench, applied, taken_back

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def bench(compiler: Compiler, tmp_path: Path) -> Bench:
    return Bench(compiler, tmp_path)


def data(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("data", situations, patch=patch)


@data("static and exported, initialised and zero", "new", "const tables",
      "pointing at itself (list heads), at other objects, at functions")  # fmt: skip
def test_the_targets_and_the_patchs_own(bench: Bench) -> None:
    source = (
        "struct list { struct list *next; };\nstatic struct list head = {&head};\n"
        "int shared = 3; static volatile int inner = 4, zero;\n"
        "static const int table[] = {10, 20, 30};\nKEEP static long two(void) { return 2; }\n"
        "KEEP long f(long x) { shared += 0; return x + inner + zero + shared + table[x % 3]"
        " + two() + (head.next == &head); }\nlong scenario(long x) { return f(x); }\n"
    )
    fix = (
        "struct list { struct list *next; };\nextern struct list head;\nextern int shared, inner;\n"
        "extern int zero;\nextern const int table[];\nlong two(void);\n"
        "static struct list own = {&own};\nstatic int calls;\n"
        "static const long primes[] = {1000, 3000, 5000};\n"
        "static long (*const ways[])(void) = {two};\n"
        "long f(long x) { calls++; zero += 1; return x + inner + zero + shared + table[x % 3]"
        " + ways[0]() + (head.next == &head) + (own.next == &own) * 100 + primes[x % 3]"
        " + calls * 10000; }\n"
    )
    program = bench.program(source)
    path = bench.patch(program, fix)
    with bench.running(program) as process:
        assert process.scenario(1) == 1 + 4 + 0 + 3 + 20 + 2 + 1
        applied(path, process.pid)
        assert process.scenario(1) == 1 + 4 + 1 + 3 + 20 + 2 + 1 + 100 + 3000 + 10000
        assert process.scenario(1) == 1 + 4 + 2 + 3 + 20 + 2 + 1 + 100 + 3000 + 20000
        taken_back(process.pid)
        assert process.scenario(1) == 1 + 4 + 2 + 3 + 20 + 2 + 1, (
            "zero stays what the patch made it"
        )
        applied(path, process.pid)
        assert process.scenario(1) // 10000 == 1, "the patch's own data begin again"


@data("copy-relocated")
def test_a_variable_that_the_program_copied(bench: Bench) -> None:
    library = bench.library("int shared = 5;\nKEEP int f(int x) { return shared + x; }\n")
    main = (
        "extern int shared; int f(int);\nlong scenario(long x) { shared = 7; return f((int)x); }\n"
    )
    program = bench.program(main, "-no-pie", "-fno-pie", libraries=[library])
    fix = "extern int shared;\nint f(int x) { return shared * 100 + x; }\n"
    bench.tried(library, fix, 8, 701, program=program, question=1)


@data("rodata strings still referenced")
def test_a_constant_of_the_patch_outlives_it(bench: Bench) -> None:
    source = (
        "#include <string.h>\nconst char *kept;\nKEEP const char *f(long x)"
        ' { return x > 50 ? "b" : "a"; }\n'
        "long scenario(long x) { if (x) kept = f(x);"
        " return (long)strlen(kept) * 1000 + kept[0]; }\n"
    )
    program = bench.program(source)
    path = bench.patch(program, 'const char *f(long x) { return x ? "zoo" : "a"; }\n')
    with bench.running(program) as process:
        assert process.scenario(5) == 1000 + ord("a")
        applied(path, process.pid)
        assert process.scenario(5) == 3000 + ord("z")
        taken_back(process.pid)
        assert process.scenario(0) == 3000 + ord("z")


@data("grown", "shrunk", patch="refused: own-variable (a patch's variable of the same name is "
      "another one)")  # fmt: skip
def test_a_variable_defined_anew(bench: Bench) -> None:
    source = (
        "int v[4] = {1, 2, 3, 4};\nKEEP long f(long x) { return v[x % 4]; }\n"
        "long scenario(long x) { return f(x); }\n"
    )
    program = bench.program(source)
    for size in (2, 8):
        fix = f"int v[{size}] = {{9}};\nlong f(long x) {{ return v[x % {size}]; }}\n"
        with pytest.raises(PatchRefused, match="own-variable"):
            bench.patch(program, fix)
        bench.tried(program, fix, 2, 0, question=1, force=True)


@data("gone", patch="refused: not in it")
def test_a_variable_that_the_target_has_not(bench: Bench) -> None:
    program = bench.program("KEEP long f(long x) { return x + 1; }\n"
                            "long scenario(long x) { return f(x); }\n")  # fmt: skip
    with pytest.raises(Exception, match="gone is not in it"):
        bench.patch(program, "extern int gone;\nlong f(long x) { return gone + x; }\n")


THREADS = """
#include <pthread.h>
__thread long counted = 10;
static __thread long inner = 20;
KEEP long f(long x) { counted++; inner += 2; return counted * 100 + inner + x * 0; }
"""
ASKING = """
#include <pthread.h>
long f(long);
static void *run(void *p) { f(0); f(0); *(long *)p = f(0); return p; }
long scenario(long x) { long mine = f(x), other; pthread_t t; pthread_create(&t, 0, run, &other);
    pthread_join(t, 0); return mine * 100000 + other; }
"""
OWN = """
extern __thread long counted, inner;
long f(long x) { counted += 2; inner += 3; return counted * 100 + inner + x * 0; }
"""


@data("TLS (general, local, initial-exec)")
@pytest.mark.parametrize("where", ["program", "library", "library with static TLS"])
@pytest.mark.parametrize("model", ["global-dynamic", "local-dynamic", "initial-exec"])
@pytest.mark.parametrize("dialect", ["gnu", "gnu2"])
def test_thread_local_variables_of_the_target(
    bench: Bench, model: str, dialect: str, where: str
) -> None:
    """A library's block has a fixed place only where it was linked for initial-exec access."""
    fixed = ("-ftls-model=initial-exec",) if "static" in where else ()
    if where != "program":
        target = bench.library(THREADS, *fixed)
        program = bench.program(ASKING, libraries=[target])
    else:
        target = program = bench.program(THREADS + ASKING)
    flags = (f"-ftls-model={model}", f"-mtls-dialect={dialect}")
    if where == "library" and (model == "initial-exec" or dialect == "gnu2"):
        with pytest.raises(PatchUnlinkable, match="only its threads know where it is"):
            bench.patch(target, OWN, cflags=flags)
        return
    path = bench.patch(target, OWN, cflags=flags)
    with bench.running(program) as process:
        assert process.scenario(0) == 112200000 + 1300 + 26
        applied(path, process.pid)
        assert process.scenario(0) == (1300 + 25) * 100000 + 1600 + 29
        taken_back(process.pid)


@data("TLS of another layout", patch="refused: new thread-local variables")
def test_new_thread_local_variables_are_refused(bench: Bench) -> None:
    program = bench.program("KEEP long f(long x) { return x + 1; }\n"
                            "long scenario(long x) { return f(x); }\n")  # fmt: skip
    fix = "static __thread long calls;\nlong f(long x) { return ++calls * 100 + x; }\n"
    with pytest.raises(PatchUnlinkable, match="running threads have no room"):
        bench.patch(program, fix)
