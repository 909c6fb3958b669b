"""What the first bytes of a function can look like, where a patch writes its jump."""

import re
from pathlib import Path

import pytest

from libswap.errors.patch import PatchRefused
from libswap.operations.patch_show import show
from support.compiler import Compiler, has
from support.patching import Bench, applied, refused, taken_back

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def bench(compiler: Compiler, tmp_path: Path) -> Bench:
    return Bench(compiler, tmp_path)


def entries(*situations: str, patch: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("entries", situations, patch=patch)


def written(name: str, code: str, *, align: int = 4, behind: str = "") -> str:
    """A function in assembler; `behind` is what stands directly behind it."""
    return (
        f'__asm__(".text\\n.p2align {align}\\n.globl {name}\\n.type {name}, @function\\n"\n'
        f'"{name}: {code}\\n.size {name}, . - {name}\\n{behind}\\n.p2align 4\\n");\n'
        f"long {name}(long);\n"
    )


CALL = "long scenario(long x) { return f(x); }\n"
FIX = "long f(long x) { return x + 40; }\n"


@entries("function of 1 to 14 bytes", patch="works where 5 bytes are its own or padding; else "
         "refused: entry-too-short")  # fmt: skip
@pytest.mark.parametrize("fill", range(11))
def test_short_functions(bench: Bench, fill: int) -> None:
    code = "leaq 1(%rdi), %rax; " + "nop; " * fill + "ret"
    program = bench.program(written("f", code) + CALL)
    bench.tried(program, FIX, 6, 45, question=5)
    crowded = bench.program(written("f", code, behind="mov %rsi, %rdi; ret") + CALL)
    bench.tried(crowded, FIX, 6, 45, question=5)


@entries("function of 1 to 14 bytes", patch="works where 5 bytes are its own or padding; else "
         "refused: entry-too-short")  # fmt: skip
@pytest.mark.parametrize("code", ["push %rdi; pop %rax; ret", "mov %edi, %eax; ret"])
def test_functions_with_no_room(bench: Bench, code: str) -> None:
    alone = bench.program(written("f", code) + CALL)
    path = bench.patch(alone, FIX)
    with bench.running(alone) as process:
        applied(path, process.pid)
        assert process.scenario(5) == 45
        taken_back(process.pid)
    crowded = written("f", code, behind=".globl g; .type g, @function; g: mov %rsi, %rdi; ret")
    with pytest.raises(PatchRefused, match="entry-too-short"):
        bench.patch(bench.program(crowded + CALL), FIX)


@entries("entry crossing a page", patch="refused: entry-crosses-page; works with --force")
def test_an_entry_across_two_pages(bench: Bench) -> None:
    source = (
        '__asm__(".text\\n.p2align 12\\n.skip 4093, 0x90\\n.globl f\\n.type f, @function\\n"\n'
        '"f: leaq 1(%rdi), %rax\\nnop\\nnop\\nret\\n.size f, . - f\\n.p2align 4\\n");\n'
        "long f(long);\n" + CALL
    )
    program = bench.program(source)
    with pytest.raises(PatchRefused, match="entry-crosses-page"):
        bench.patch(program, FIX)
    bench.tried(program, FIX, 6, 45, question=5, force=True)


@entries("endbr64 first", "red zone in use")
def test_endbr64_and_the_red_zone(bench: Bench) -> None:
    source = (
        "KEEP long f(long x) { volatile long v[12]; for (int i = 0; i < 12; i++) v[i] = x + i;"
        " return v[11] - 10; }\n" + CALL
    )
    program = bench.program(source, "-fcf-protection=full")
    path = bench.patch(program, FIX)
    assert show(path).patch.replaced[0].first.startswith(bytes.fromhex("f30f1efa"))
    bench.tried(program, FIX, 6, 45, question=5)
    original = "long libswap_original_f(long); long f(long x) { return libswap_original_f(x) + 7; }"
    bench.tried(program, original + "\n", 6, 13, question=5)


# The loop's head is the third byte.
LOOP = "xor %eax, %eax; f_again: inc %rax; dec %rdi; jnz f_again; ret"
EARLY = "jmp f_in; .byte 0x90; f_in: leaq 1(%rdi), %rax; nop; nop; ret"


@entries(
    "loop head inside the first bytes", "a jump into the first bytes",
    patch="works: jump-into-entry; its original cannot be called",
)  # fmt: skip
@pytest.mark.parametrize(("code", "before"), [(LOOP, 5), (EARLY, 6)])
def test_jumps_into_the_first_bytes(bench: Bench, code: str, before: int) -> None:
    program = bench.program(written("f", code) + CALL)
    path = bench.patch(program, FIX)
    assert "jump-into-entry" in {f.word for f in show(path).patch.findings}
    bench.tried(program, FIX, before, 45, question=5)
    original = "long libswap_original_f(long); long f(long x) { return libswap_original_f(x); }\n"
    path = bench.patch(program, original)
    with bench.running(program) as process:
        assert "cannot be moved" in refused(path, process.pid).reason
        assert process.scenario(5) == before


FOLDS = {
    "by the compiler": ("-fipa-icf",),
    "by the linker": ("-fno-ipa-icf", "-ffunction-sections", "-fuse-ld=lld", "-Wl,--icf=all"),
}


@entries("two functions folded into one", patch="works for all of them at once: shared-code")
@pytest.mark.parametrize("how", FOLDS)
def test_functions_that_were_folded(bench: Bench, how: str) -> None:
    if "linker" in how and not has("ld.lld"):
        pytest.skip("ld.lld is not installed")
    source = (
        "static KEEP long f(long x) { return x + 1; }\n"
        "static KEEP long g(long x) { return x + 1; }\n"
        "long scenario(long x) { return f(x) * 100 + g(x); }\n"
    )
    program = bench.program(source, *FOLDS[how])
    path = bench.patch(program, FIX)
    (finding,) = [f for f in show(path).patch.findings if f.word == "shared-code"]
    assert finding.detail.startswith("the same code is also g")
    bench.tried(program, FIX, 606, 4545, question=5)


@entries("several names for one address", patch="works for all of them at once: shared-code")
def test_several_names_of_one_function(bench: Bench) -> None:
    source = (
        "KEEP long f(long x) { return x + 1; }\n"
        'long g(long) __attribute__((alias("f")));\n'
        "long scenario(long x) { return f(x) * 100 + g(x); }\n"
    )
    program = bench.program(source)
    path = bench.patch(program, FIX)
    (finding,) = [f for f in show(path).patch.findings if f.word == "shared-code"]
    assert finding.detail.startswith("the same code is also g")
    bench.tried(program, FIX, 606, 4545, question=5)


@entries("cold parts split off")
def test_cold_parts_belong_to_their_function(bench: Bench) -> None:
    source = (
        "#include <stdio.h>\nextern int odd;\nint odd;\n"
        "static __attribute__((cold, noinline)) void complain(long x) { odd += (int)x; }\n"
        "KEEP long f(long x) { if (__builtin_expect(x < 0, 0)) { complain(x); complain(2 * x);"
        " for (int i = 0; i < odd; i++) complain(i); return odd; } return x + 1; }\n" + CALL
    )
    program = bench.program(source)
    path = bench.patch(program, FIX)
    (replaced,) = show(path).patch.replaced
    assert len(replaced.parts) == 1, "f.cold"
    bench.tried(program, FIX, 6, 45, question=5)


@entries("function already hooked by someone else", patch="refused: EntryChanged")
def test_a_foreign_hook(bench: Bench) -> None:
    source = (
        "KEEP long f(long x) { return x * 3 + (x > 50 ? x / 7 : 1); }\n"
        "KEEP long hook(long x) { return x * 5 + (x > 50 ? x / 9 : 2); }\n"
        "long scenario(long x) { return f(x); }\nlong (*keeps)(long) = hook;\n"
    )
    program = bench.program(source)
    path = bench.patch(program, FIX)
    both = bench.patch(program, "long f(long x) { return 1; }\nlong hook(long x) { return 2; }\n",
                       "both")  # fmt: skip
    places = {r.name: r.vaddr for r in show(both).patch.replaced}
    with bench.running(program) as process:
        process._redirect(process.base + places["f"], process.base + places["hook"])
        assert process.scenario(5) == 27
        found = refused(path, process.pid)
        assert found.error == "EntryChanged"
        assert re.search("e9", found.reason)
        assert process.scenario(5) == 27
