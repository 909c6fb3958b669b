"""Old code that relies on what it calls: found out with bounded work, and in doubt it does."""

import pytest

from libswap.elf.footprints import Footprints
from libswap.elf.image import Image
from libswap.elf.registers import caller_saved
from libswap.live import reliance
from libswap.live.entries import Entries
from libswap.live.library import Library
from libswap.live.reliance import Inside, Reliance
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

FUNCTIONS = 40
NOPS = 2000


def function(name: str, body: str, *, exported: bool = True) -> str:
    scope = f".globl {name}\n" if exported else ""
    return (
        f"{scope}.type {name}, @function\n{name}:\n.cfi_startproc\n{body}\n"
        f".cfi_endproc\n.size {name}, .-{name}\n"
    )


def inside(compiler: Compiler, assembly: str) -> Inside:
    text = "".join(f'"{line.strip()}\\n"\n' for line in assembly.strip().splitlines())
    built = compiler.library(f'asm(".text\\n"\n{text});\n', "-O2", "-Wl,-Bsymbolic")
    return Inside(Entries(Library(Image(built.read_bytes(), "assembly"))))


def many(compiler: Compiler, last: str) -> Inside:
    """Functions that share a long one, and one that calls all of them and reads rcx behind it."""
    names = [f"f{n}" for n in range(FUNCTIONS)]
    calls = "\n".join(f"call {name}" for name in names)
    return inside(
        compiler,
        function("shared", f".rept {NOPS}\nnop\n.endr\n{last}\nret", exported=False)
        + "".join(function(name, "jmp shared") for name in names)
        + function("caller", f"sub $8, %rsp\n{calls}\nmov %rcx, %rax\nadd $8, %rsp\nret"),
    )


def starts(code: Inside) -> dict[str, int]:
    return {str(n.name): s.value for n, s in code.entries.library.exported.items()}


def test_what_functions_share_is_read_once(compiler: Compiler) -> None:
    code = many(compiler, "xor %ecx, %ecx")
    at = starts(code)
    footprints = Footprints(code, most=2 * NOPS)
    for number in range(FUNCTIONS):
        found = footprints.of(at[f"f{number}"])
        assert found is not None
        assert len(found.written) == 1


def test_loops_and_branches_are_followed_once(compiler: Compiler) -> None:
    branches = "\n".join(f"{n}: test %rdi, %rdi\njne 1f\nje 1b" for n in [1] * 300)
    code = inside(compiler, function("f", f"{branches}\n1: mov %rsi, %rcx\nret"))
    found = Footprints(code, most=1000).of(starts(code)["f"])
    assert found is not None
    assert len(found.written) == 1


def test_in_doubt_a_caller_relies_on_it(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = many(compiler, "xor %ecx, %ecx")
    at = starts(code)
    kept = frozenset({at["caller"]})
    assert not Reliance(code, code, kept).on(at["f0"], at["f0"])
    assert Footprints(code, most=NOPS).of(at["f0"]) is None
    monkeypatch.setattr(Footprints, "of", lambda *_: None)
    assert Reliance(code, code, kept).on(at["f0"], at["f0"])


@pytest.mark.parametrize(("most", "relied"), [(1 << 20, False), (50, True)])
def test_the_work_for_callers_is_bounded(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, most: int, *, relied: bool
) -> None:
    old, new = many(compiler, "nop"), many(compiler, "xor %r11d, %r11d")
    at = starts(old)
    monkeypatch.setattr(reliance, "_MOST_WORK", most)
    asked = Reliance(old, new, frozenset({at["caller"]}))
    answers = {asked.on(at[f"f{n}"], starts(new)[f"f{n}"]) for n in range(FUNCTIONS)}
    assert relied in answers
    if not relied:
        assert answers == {False}


def test_a_register_that_is_read_behind_the_call_is_relied_on(compiler: Compiler) -> None:
    old, new = many(compiler, "nop"), many(compiler, "xor %ecx, %ecx")
    last = f"f{FUNCTIONS - 1}"
    asked = Reliance(old, new, frozenset({starts(old)["caller"]}))
    assert asked.on(starts(old)[last], starts(new)[last])


@pytest.mark.parametrize(
    ("body", "count", "aligned"),
    [
        ("movaps %xmm0, -24(%rsp)\nret", 0, True),
        ("call *%rax\nret", None, True),
        ("jmp *8(%rip)", None, True),
        ("lea 1(%rdi), %eax\nmov %eax, %ecx\nret", 2, False),
    ],
)
def test_what_a_callee_does_counts(
    compiler: Compiler, body: str, count: int | None, *, aligned: bool
) -> None:
    code = inside(compiler, function("g", body, exported=False) + function("f", "call g\nret"))
    found = Footprints(code).of(starts(code)["f"])
    assert found is not None
    assert len(found.written) == (len(caller_saved()) if count is None else count)
    assert found.aligned is aligned
