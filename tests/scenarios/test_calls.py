"""However a call reaches the library, it reaches the new one, and the old one after a revert."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.swapping import Stage, reverted, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def calls(*situations: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("calls", situations, live="works")


LOOP = "int main(void) { ready(); while (asked()) answer(%s); }\n"


@calls("recursion (direct, mutual, deep)")
def test_recursion(stage: Stage) -> None:
    library = (
        "int odd(int n); int even(int n) { return n ? odd(n - 1) : VERSION; }\n"
        "int odd(int n) { return n ? even(n - 1) : -VERSION; }\n"
        "int sum(int n) { return n ? n + sum(n - 1) : VERSION; }\n"
    )
    program = "int even(int), sum(int);\n" + LOOP % "even(20) * 100000 + sum(1000)"
    tried(stage, library, program, 100000 + 500501, 200000 + 500502)


@calls("tail calls")
def test_tail_calls(stage: Stage) -> None:
    library = (
        "int last(int n) { return n * 10 + VERSION; }\nint first(int n) { return last(n + 1); }\n"
    )
    tried(stage, library, "int first(int);\n" + LOOP % "first(4)", 51, 52)
    tried(stage, library, "int first(int);\n" + LOOP % "first(4)", 51, 52, "-Wl,-Bsymbolic")


@calls("variadic", "many parameters (registers and stack)", "long double")
def test_parameters_in_registers_and_on_the_stack(stage: Stage) -> None:
    library = (
        "#include <stdarg.h>\n"
        "int many(int a, int b, int c, int d, int e, int f, int g, int h, double x, long double y)"
        " { return a + b + c + d + e + f + g + h + (int)x + (int)y + 1000 * VERSION; }\n"
        "int listed(int n, ...) { va_list v; va_start(v, n); int s = 1000 * VERSION;"
        " for (int i = 0; i < n; i++) s += va_arg(v, int); s += (int)va_arg(v, double);"
        " va_end(v); return s; }\n"
    )
    program = (
        "int many(int, int, int, int, int, int, int, int, double, long double);"
        "int listed(int, ...);\n"
        + LOOP
        % "many(1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5L) + listed(8,1,2,3,4,5,6,7,8,9.0)"
    )
    tried(stage, library, program, 2100, 4100)


@calls("large struct by value and as return", "floating point and vector arguments")
def test_structures_and_vectors(stage: Stage) -> None:
    library = (
        "struct s { long v[9]; }; typedef float f4 __attribute__((vector_size(16)));\n"
        "struct s turned(struct s s) { for (int i = 0; i < 9; i++) s.v[i] += VERSION; return s; }\n"
        "f4 scaled(f4 a, f4 b) { return a * b + (float)VERSION; }\n"
    )
    program = (
        "struct s { long v[9]; }; typedef float f4 __attribute__((vector_size(16)));\n"
        "struct s turned(struct s); f4 scaled(f4, f4);\n"
        "static long f(void) { struct s s = {{1, 2, 3, 4, 5, 6, 7, 8, 9}}; s = turned(s);"
        " f4 a = {1, 2, 3, 4}; a = scaled(a, a); return s.v[0] + s.v[8] * 10 + (int)a[3] * 1000; }"
        "\n" + LOOP % "f()"
    )
    tried(stage, library, program, 17000 + 102, 18000 + 113)


@calls("versioned")
def test_symbol_versions(stage: Stage) -> None:
    library = (
        "int was(void) { return 10 + VERSION; }\nint is(void) { return 20 + VERSION; }\n"
        '__asm__(".symver was,f@A");\n__asm__(".symver is,f@@B");\n'
    )
    script = stage.place.with_name("versions")
    script.write_text("A { global: f; local: *; };\nB { global: f; } A;\n")
    program = (
        'extern int was(void), is(void);\n__asm__(".symver was,f@A");\n'
        '__asm__(".symver is,f@B");\n' + LOOP % "was() * 100 + is()"
    )
    tried(stage, library, program, 1121, 1222, f"-Wl,--version-script={script}")


@calls("weak")
def test_weak_symbols(stage: Stage) -> None:
    library = "__attribute__((weak)) int f(void) { return VERSION; }\n"
    program = "int f(void);\n__attribute__((weak)) int nowhere(void);\n" + (
        LOOP % "nowhere ? -1 : f()"
    )
    tried(stage, library, program, 1, 2)


@calls("IFUNC")
@pytest.mark.parametrize("link", ["-Wl,-z,lazy", "-Wl,-z,now"])
@pytest.mark.parametrize("strip", ["", "-s"])
def test_indirect_functions(stage: Stage, link: str, strip: str) -> None:
    library = (
        "static int chosen(int x) { return x * 100 + VERSION; }\n"
        "static int (*choose(void))(int) { return chosen; }\n"
        'int f(int) __attribute__((ifunc("choose")));\n'
        "int inside(int x) { return f(x + 1); }\n"
    )
    program = (
        "int f(int), inside(int);\nstatic int (*kept)(int);\n"
        "int main(void) { kept = f; ready(); while (asked())"
        " answer(f(1) + inside(1) * 1000 + kept(3) * 1000000); }\n"
    )
    flags = (strip,) if strip else ()
    tried(stage, library, program, 301201101, 302202102, *flags, link=(link,))


@calls("interposed by the main program or a preload")
def test_interposition_stays_in_force(stage: Stage) -> None:
    library = (
        "int inner(void) { return VERSION; }\nint other(void) { return 10 * VERSION; }\n"
        "int outer(void) { return inner() + other(); }\n"
    )
    program = "int outer(void); int inner(void) { return 500; }\n" + LOOP % "outer()"
    preload = stage.compiler.library("int other(void) { return 7000; }\n", name="libpre.so")
    tried(stage, library, program, 510, 520, link=("-rdynamic",))
    tried(stage, library, program, 7500, 7500, link=("-rdynamic",), LD_PRELOAD=str(preload))


@calls("hidden and protected visibility", "-Bsymbolic", "-fno-semantic-interposition")
@pytest.mark.parametrize(
    "flag", ["-Wl,-Bsymbolic", "-fno-semantic-interposition", "-DVISIBLE=protected"]
)
def test_callers_that_know_what_their_callee_leaves_alone(stage: Stage, flag: str) -> None:
    """-fipa-ra: a caller in the same file keeps values in registers the callee does not touch."""
    library = (
        "#ifndef VISIBLE\n#define VISIBLE default\n#endif\n#define Q(x) #x\n#define S(x) Q(x)\n"
        "__attribute__((noinline, visibility(S(VISIBLE)))) int leaf(int x) {\n"
        "#if VERSION == 2\n"
        ' __asm__ volatile("xor %%rax,%%rax; xor %%rcx,%%rcx; xor %%rdx,%%rdx; xor %%rsi,%%rsi;'
        ' xor %%r8,%%r8; xor %%r9,%%r9; xor %%r10,%%r10; xor %%r11,%%r11" ::: "rax", "rcx", "rdx",'
        ' "rsi", "r8", "r9", "r10", "r11");\n'
        "#endif\n return x + 7; }\n"
        "__attribute__((noinline)) int outer(int a, int b, int c) {"
        " int k = a * b + c; return leaf(a) + k; }\n"
        "int (*give(void))(int, int, int) { return outer; }\n"
    )
    program = (
        "int (*give(void))(int, int, int);\nint main(void) { int (*kept)(int, int, int) = give();"
        " ready(); while (asked()) answer(kept(10, 9, 0)); }\n"
    )
    tried(stage, library, program, 107, 107, flag)


@calls("direct, from a caller that need not align the stack")
def test_callers_that_do_not_align_the_stack(stage: Stage) -> None:
    """gcc knows that the old leaf needs no aligned stack; its callers change with it."""
    library = (
        "#include <stdio.h>\n__attribute__((noinline)) long leaf(long x) {\n"
        "#if VERSION == 1\n return x * 3;\n#else\n"
        ' char text[64]; return snprintf(text, sizeof text, "%f", x * 1.5) * 100'
        " + (long)__builtin_frame_address(0) % 16;\n#endif\n}\n"
        "__attribute__((noinline)) long outer(long x) { return leaf(x) + 1; }\n"
        "long (*give(void))(long) { return outer; }\n"
    )
    program = (
        "long (*give(void))(long);\nint main(void) { long (*kept)(long) = give();"
        " ready(); while (asked()) answer(kept(10)); }\n"
    )
    tried(stage, library, program, 31, 901, "-fno-semantic-interposition",
          "-fno-omit-frame-pointer")  # fmt: skip


@calls("C++ virtual calls and exceptions across the boundary", "C++ vtables")
def test_virtual_calls_and_exceptions(stage: Stage) -> None:
    header = (
        "#include <stdexcept>\n#include <string>\n#include <vector>\nstruct Shape {"
        " virtual ~Shape() {} virtual int area(); virtual int fail(int); int v = 5; };\n"
        "Shape *make(); int caught(int (*)());\n"
    )
    library = header + (
        "namespace { struct Round : Shape { std::string name{std::to_string(VERSION)};"
        " int area() override { return 100 * VERSION + v; } }; }\n"
        "int Shape::area() { return VERSION; }\n"
        'int Shape::fail(int n) { throw std::runtime_error("v" + std::to_string(VERSION + n)); }\n'
        "static std::vector<int> made;\n"
        "Shape *make() { made.push_back(VERSION); return made.size() % 2 ? new Round : new Shape; }"
        "\nint caught(int (*f)()) { try { return f(); } catch (std::exception &e) {"
        " return VERSION * 10 + int(made.size()); } }\n"
    )
    program = header + (
        "static int thrower() { throw std::logic_error(std::string(40, 'x')); }\n"
        "int main() { Shape *a = make(), *b = make(); ready(); while (asked()) {"
        " int code = 0; try { a->fail(1); } catch (std::runtime_error &e) { code = e.what()[1] -"
        " '0'; } answer(a->area() + 1000 * b->area() + 10000 * code + 100000 * caught(thrower)); }"
        " delete a; delete b; }\n"
    )
    tried(stage, library, program, 1221105, 2232205, cc="c++")


@calls("functions only in the new library")
def test_what_only_the_new_library_has_is_found_by_dlsym(stage: Stage) -> None:
    library = (
        "int f(void) { return VERSION; }\n#if VERSION == 2\nint g(void) { return 9; }\n#endif\n"
    )
    program = (
        "#include <dlfcn.h>\nint f(void);\n"
        + LOOP
        % '(dlsym(RTLD_DEFAULT, "g") ? ((int (*)(void))dlsym(RTLD_DEFAULT, "g"))() : 0) + f() * 10'
    )
    stage.install(stage.build(library, version=1))
    made = stage.program(program, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "10"
        stage.install(stage.build(library, version=2))
        stage.moved(target)
        assert target.ask() == "29"
        reverted([target.pid], force=True)
        assert target.ask() == "19"
