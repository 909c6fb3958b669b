"""However a call reaches a function, it reaches the patch, and the function after the revert."""

from pathlib import Path

import pytest

from libswap.operations.patch_status import status
from support.compiler import Compiler
from support.patching import Bench, applied, taken_back

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def bench(compiler: Compiler, tmp_path: Path) -> Bench:
    return Bench(compiler, tmp_path)


def calls(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("calls", situations, patch=patch)


LIBRARY = "KEEP int f(int x) { return x + 1; }\nint around(int x) { return f(x) * 10; }\n"
USER = (
    "int f(int), around(int);\n"
    "long scenario(long x) { return around((int)x) * 1000L + f((int)x); }\n"
)


@calls(
    "direct", "via lazy slot", "via bound slot", "full RELRO", "-fno-plt", "PIE and not",
    "-Bsymbolic",
)  # fmt: skip
@pytest.mark.parametrize(
    ("flags", "library"),
    [
        (["-Wl,-z,lazy"], []),
        (["-Wl,-z,now", "-Wl,-z,relro"], []),
        (["-fno-plt"], []),
        (["-no-pie", "-fno-pie"], ["-Wl,-Bsymbolic"]),
        (["-pie", "-fPIE"], ["-fno-semantic-interposition"]),
    ],
)
def test_a_function_of_a_library_by_any_way(
    bench: Bench, flags: list[str], library: list[str]
) -> None:
    scene = bench.library(LIBRARY, *library)
    program = bench.program(USER, *flags, libraries=[scene])
    fix = "int f(int x) { return x + 4; }\n"
    bench.tried(scene, fix, 60006, 90009, program=program, question=5)


@calls("hidden and protected visibility")
@pytest.mark.parametrize("visibility", ["hidden", "protected"])
def test_visibility(bench: Bench, visibility: str) -> None:
    source = (
        f'__attribute__((visibility("{visibility}"))) KEEP int inner(int x) {{ return x + 1; }}\n'
        "int f(int x) { return inner(x) + 0 * x; }\nint around(int x) { return inner(x) * 10; }\n"
    )
    scene = bench.library(source)
    program = bench.program(USER, libraries=[scene])
    bench.tried(scene, "int inner(int x) { return x + 4; }\n", 60006, 90009, program=program,
                question=5)  # fmt: skip


@calls("versioned")
def test_symbol_versions(bench: Bench) -> None:
    source = (
        "int was(void) { return 1; }\nint is(void) { return 2; }\n"
        '__asm__(".symver was,f@A");\n__asm__(".symver is,f@@B");\n'
    )
    script = bench.work / "versions"
    script.write_text("A { global: f; local: *; };\nB { global: f; } A;\n")
    scene = bench.library(source, f"-Wl,--version-script={script}")
    program = bench.program(
        'extern int was(void), is(void);\n__asm__(".symver was,f@A");\n'
        '__asm__(".symver is,f@B");\nlong scenario(long x) { return was() * 10 + is() + x; }\n',
        libraries=[scene],
    )
    bench.tried(scene, "int is(void) { return 7; }\n", 12, 17, program=program)
    bench.tried(scene, "int was(void) { return 7; }\n", 12, 72, program=program)


@calls("weak", "interposed by the main program or a preload")
def test_weak_and_interposed(bench: Bench) -> None:
    """The library's own function changes; who interposes it is another function, and stays."""
    source = (
        "__attribute__((weak)) int f(int x) { return x + 1; }\nint around(int x) { return f(x); }\n"
    )
    scene = bench.library(source)
    fix = "int f(int x) { return x + 4; }\n"
    program = bench.program(USER, libraries=[scene])
    bench.tried(scene, fix, 6006, 9009, program=program, question=5)
    over = bench.program("KEEP int f(int x) { return 500 + x * 0; }\n" + USER, "-Wl,-E",
                         libraries=[scene])  # fmt: skip
    bench.tried(scene, fix, 500500, 500500, program=over, question=5)
    bench.tried(over, "int f(int x) { return 700; }\n", 500500, 700700, question=5)


@calls("IFUNC", patch="the resolver refused: indirect-function; the chosen function works")
def test_indirect_functions(bench: Bench) -> None:
    source = (
        "KEEP static int chosen(int x) { return x * 100; }\n"
        "static int (*choose(void))(int) { return chosen; }\n"
        'int f(int) __attribute__((ifunc("choose")));\nint around(int x) { return f(x + 1); }\n'
    )
    scene = bench.library(source)
    program = bench.program(USER, libraries=[scene])
    bench.tried(scene, "int chosen(int x) { return x * 100 + 7; }\n", 200100, 207107,
                program=program, question=1)  # fmt: skip
    with pytest.raises(Exception, match="indirect-function"):
        bench.patch(scene, "int f(int x) { return 1; }\n")
    calls_it = "int f(int); int around(int x) { return f(x) + 1; }\n"
    bench.tried(scene, calls_it, 200100, 101100, program=program, question=1)


@calls("recursion (direct, mutual, deep)", "tail calls")
def test_recursion_and_tail_calls(bench: Bench) -> None:
    source = (
        "KEEP long odd(long n);\nKEEP long even(long n) { return n ? odd(n - 1) : 1; }\n"
        "KEEP long odd(long n) { return n ? even(n - 1) : 0; }\n"
        'KEEP long sum(long n) { long m = n; __asm__("" : "+r"(m)); return n ? sum(n - 1) + m : 0;'
        " }\nlong scenario(long x) { return sum(x) * 10 + even(x); }\n"
    )
    program = bench.program(source)
    fix = (
        "long odd(long n);\nlong even(long n) { return n ? odd(n - 1) : 5; }\n"
        "long sum(long n) { return n ? sum(n - 1) + 2 * n : 0; }\n"
    )
    bench.tried(program, fix, 50005000 * 10 + 1, 100010000 * 10 + 5, question=10000)


@calls(
    "variadic", "many parameters (registers and stack)", "long double",
    "large struct by value and as return", "floating point and vector arguments",
)  # fmt: skip
def test_parameters_of_every_kind(bench: Bench) -> None:
    common = (
        "#include <stdarg.h>\nstruct s { long v[9]; };\n"
        "typedef float f4 __attribute__((vector_size(16)));\n"
    )

    def functions(n: int) -> str:
        return (
            f"KEEP long many(long a, long b, long c, long d, long e, long f, long g, long h,"
            f" double x, long double y) {{ return a+b+c+d+e+f+g+h + (long)x + (long)y + {n}; }}\n"
            f"KEEP long listed(int n, ...) {{ va_list v; va_start(v, n); long s = {n};"
            f" for (int i = 0; i < n; i++) s += va_arg(v, int); s += (long)va_arg(v, double);"
            f" va_end(v); return s; }}\n"
            f"KEEP struct s turned(struct s s) {{ for (int i = 0; i < 9; i++) s.v[i] += {n};"
            f" return s; }}\nKEEP f4 scaled(f4 a, f4 b) {{ return a * b + {n}.0f; }}\n"
        )

    main = (
        "long scenario(long x) { struct s s = {{1, 2, 3, 4, 5, 6, 7, 8, x}}; s = turned(s);\n"
        "f4 a = {1, 2, 3, 4}; a = scaled(a, a);\n"
        "return many(1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5L) + listed(8, 1,2,3,4,5,6,7,8, 9.0)"
        " + s.v[0] * 1000 + s.v[8] * 10000 + (long)a[3] * 1000000; }\n"
    )

    def value(n: int) -> int:
        many, listed = 36 + 9 + 10 + n, n + 36 + 9
        return many + listed + (1 + n) * 1000 + (9 + n) * 10000 + (16 + n) * 1000000

    program = bench.program(common + functions(1) + main)
    bench.tried(program, common + functions(2), value(1), value(2), question=9)


@calls("C++ virtual calls and exceptions across the boundary", "C++ vtables")
def test_virtual_calls_and_exceptions(bench: Bench) -> None:
    common = (
        "#include <stdexcept>\n#include <string>\nstruct Shape { virtual ~Shape() {}"
        " virtual int area(int); int v; };\n"
    )
    source = common + (
        "KEEP int Shape::area(int n) { if (n > 9) throw std::runtime_error(std::to_string(n));"
        " return v * n; }\nstatic Shape shape;\nstatic Shape *volatile kept = &shape;\n"
        'extern "C" long scenario(long n) { kept->v = 3; try { return kept->area((int)n); }'
        " catch (std::runtime_error &e) { return -std::stol(e.what()); } }\n"
    )
    fix = common + (
        "int Shape::area(int n) { if (n > 1) throw std::runtime_error(std::to_string(n + v));"
        " return v; }\n"
    )
    program = bench.program(source, cc="c++")
    bench.tried(program, fix, 15, -8, question=5, cc="c++", force=True)


def test_exceptions_pass_through_a_patch_that_came_again(bench: Bench) -> None:
    source = (
        'extern "C" long scenario(long n);\nKEEP int f(int n) { if (n < 0) throw n; return n; }\n'
        "KEEP int g(int n) { return f(n); }\n"
        "long scenario(long n) { try { return g((int)n); } catch (int) { return 77; } }\n"
    )
    fix = (
        "extern int f(int);\n"
        'int g(int n) { struct Home { int n; ~Home() { asm volatile("" : : "r"(n)); } } h = {n};'
        " return f(-n) + h.n; }\n"
    )
    program = bench.program(source, cc="c++")
    path = bench.patch(program, fix, cc="c++", force=True)
    with bench.running(program) as process:
        for _ in range(3):
            applied(path, process.pid)
            assert process.scenario(5) == 77
            taken_back(process.pid)
            assert process.scenario(5) == 5
        (only,) = status([process.pid]).processes[0].patches
        assert only.unwinder


@calls("functions only in the new library", patch="not applicable: a patch replaces functions")
def test_a_patch_that_replaces_nothing_is_none(bench: Bench) -> None:
    program = bench.program("long scenario(long x) { return x; }\n")
    with pytest.raises(Exception, match="would be replaced"):
        bench.patch(program, "int fresh(void) { return 1; }\n")
