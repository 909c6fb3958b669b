from dataclasses import replace
from pathlib import Path

import pytest

from libswap.elf.stack_arguments import MOST, stack_arguments
from libswap.errors.patch import PatchRefused
from libswap.patch.patch import Patch
from support.compiler import Compiler
from support.host import host, linked

pytestmark = pytest.mark.compiler

LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")


def expected(n: int) -> int:
    """What fixtures/patch/kept.c computes with the functions of kept_fix.c."""
    b, c, d, e = n * 3, n * 5, n * 7, n * 11
    x, y = n * 0.5, n * 0.25
    few = n + 1000
    many = n + b + c + d + e + 6 + 7 + 8
    middle = (n + 1000) + (n + 1001)
    mean = int((x + y) / 4 * 100 + x + y)
    return few + b + many + c + 69 + d + mean + middle + e + b * c + b + d


def without_thunks(patch: Patch) -> Patch:
    return replace(patch, replaced=tuple(replace(r, entry=r.code[0]) for r in patch.replaced))


def test_callers_keep_what_their_callee_used_to_leave_alone(compiler: Compiler) -> None:
    kept = compiler.object("patch/kept.c", "-O2")
    program = compiler.program("patch/host.c", str(kept))
    patch = linked(program, compiler.object("patch/kept_fix.c", "-O2", "-fPIC"))
    assert {f.word for f in patch.findings} == {"registers-kept"}
    with host(program) as process:
        process.apply(without_thunks(patch))
        assert process.scenario(17) != expected(17), "the plain redirect shows what is at stake"
    with host(program) as process:
        process.apply(patch)
        for n in (0, 1, 17, 100000):
            assert process.scenario(n) == expected(n)


def test_a_jump_table_in_the_old_function_hides_nothing(compiler: Compiler) -> None:
    source = """
    static __attribute__((noinline, noclone)) long pick(long a) {
        if (a < 100)
            return a + 1;
        switch (a - 100) {
        case 0: return a * 3; case 1: return a ^ 5; case 2: return a - 77; case 3: return a * a;
        case 4: return a / 2; case 5: return -a; case 6: return a << 3; default: return 9;
        }
    }
    long scenario(long n) { long b = n * 3, c = n * 5; return pick(n) + b * c + pick(b) + c; }
    """
    fix = compiler.object("patch/kept_fix.c", "-O2", "-fPIC")
    program = compiler.program(
        "patch/host.c", str(compiler.object(source, "-O2", "-fno-jump-tables"))
    )
    tables = compiler.program("patch/host.c", str(compiler.object(source, "-O2")))
    for target in (program, tables):
        patch = linked(target, fix, replacements={"pick": "few"})
        assert "registers-kept" in {f.word for f in patch.findings}
        with host(target) as process:
            process.apply(patch)
            assert process.scenario(7) == 1007 + 21 * 35 + 1021 + 35
            assert process.scenario(102) == 1102 + 306 * 510 + 1306 + 510


def test_callers_that_do_not_align_the_stack_are_made_up_for(compiler: Compiler) -> None:
    source = """
    static __attribute__((noinline, noclone)) long leaf(long x) { return x * 3 + 7; }
    long scenario(long x) { return leaf(x) + 1; }
    """
    fix = """
    #include <stdio.h>
    long leaf(long x) {
        char text[64];
        return snprintf(text, sizeof text, "%ld", x) * 100
            + (long)((unsigned long)__builtin_frame_address(0) % 16);
    }
    """
    program = compiler.program("patch/host.c", str(compiler.object(source, "-O2")))
    patch = linked(program, compiler.object(fix, "-O2", "-fPIC"), libraries=[LIBC])
    assert "stack-aligned" in {f.word for f in patch.findings}
    with host(program) as process:
        process.apply(without_thunks(patch))
        assert process.scenario(1234) == 400 + 8 + 1, "the plain redirect is misaligned"
    with host(program) as process:
        process.apply(patch)
        assert process.scenario(1234) == 400 + 1


@pytest.mark.parametrize("flags", [["-O2", "-fno-ipa-ra"], ["-O1"]])
def test_callers_that_rely_on_nothing_get_a_plain_jump(
    compiler: Compiler, flags: list[str]
) -> None:
    program = compiler.program("patch/host.c", str(compiler.object("patch/shop.c", *flags)))
    patch = linked(program, compiler.object("patch/shop_fix.c", "-O2", "-fPIC"), libraries=[LIBC])
    price = next(r for r in patch.replaced if r.name == "price_of")
    assert price.entry == price.code[0], "what calls libc may change every register anyway"


def test_wide_vectors_are_kept_whole(compiler: Compiler) -> None:
    source = """
    typedef double four __attribute__((vector_size(32)));
    static __attribute__((noinline, noclone)) long inner(long n) { return n * 2; }
    four table[2] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
    long scenario(long n) {
        four sum = table[n & 1] * (double)n;
        long kept = inner(n);
        sum += (double)kept;
        return (long)(sum[0] + sum[1] * 10 + sum[2] * 100 + sum[3] * 1000);
    }
    """
    fix = """
    long inner(long n) {
        __asm__ volatile("vzeroall" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6");
        return n * 2;
    }
    """
    if "avx" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU has no AVX")
    code = compiler.object(source, "-O2", "-mavx")
    program = compiler.program("patch/host.c", str(code))
    patch = linked(program, compiler.object(fix, "-O2", "-fPIC", "-mavx", "-g"))
    with host(program) as process:
        before = [process.scenario(n) for n in range(5)]
        process.apply(without_thunks(patch))
        assert [process.scenario(n) for n in range(5)] != before
    with host(program) as process:
        process.apply(patch)
        assert [process.scenario(n) for n in range(5)] == before


IDENTITY = """
#define KEEP __attribute__((noinline, noclone))
struct pair { long a, b; };
KEEP double same(double x) { return x; }
KEEP struct pair both(long a, long unused, long b) { return (struct pair){a, b}; }
long scenario(long n) {
    double kept = n * 0.5;
    struct pair p = both(n, 0, n + 1);
    return (long)(same(kept) * 10000) + p.a + p.b * 100;
}
"""
CHANGED = """
struct pair { long a, b; };
double same(double x) { return x * 4; }
"""


def test_a_result_is_not_taken_for_a_value_of_the_callers(compiler: Compiler) -> None:
    program = compiler.program("patch/host.c", str(compiler.object(IDENTITY, "-O2")))
    patch = linked(program, compiler.object(CHANGED, "-O2", "-fPIC", "-g"))
    with host(program) as process:
        assert process.scenario(8) == 40000 + 8 + 900
        process.apply(patch)
        assert process.scenario(8) == 160000 + 8 + 900


PAIR = """
struct pair { long a, b; };
struct pair both(long a, long c, long b) { return (struct pair){a, b + 7}; }
"""


@pytest.mark.parametrize(
    ("fix", "flags"), [("double same(double x) { return x * 4; }\n", ()), (PAIR, ("-g",))]
)
def test_what_may_be_a_result_or_a_callers_value_is_said(
    compiler: Compiler, fix: str, flags: tuple[str, ...]
) -> None:
    program = compiler.program("patch/host.c", str(compiler.object(IDENTITY, "-O2")))
    with pytest.raises(PatchRefused, match="result-unclear"):
        linked(program, compiler.object(fix, "-O2", "-fPIC", *flags))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("488b442408 c3", 1),  # mov 8(%rsp),%rax
        ("55 4889e5 488b4518 c9 c3", 2),  # push %rbp; mov %rsp,%rbp; mov 24(%rbp),%rax
        ("4883ec28 8b442430 4883c428 c3", 1),  # sub $40,%rsp; mov 48(%rsp),%eax
        ("4883ec28 8b442420 4883c428 c3", 0),  # a local variable
        ("488d442408 c3", MOST),  # lea 8(%rsp),%rax
        ("4885ff 7405 4883c408 c3 488b442410 c3", 2),  # behind a return, with the jump's depth
        ("c3", 0),
    ],
)  # fmt: skip
def test_arguments_on_the_stack_are_counted(code: str, words: int) -> None:
    assert stack_arguments(bytes.fromhex(code), 0x1000) == words
