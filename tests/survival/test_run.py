"""What a run over one function sees: ways that compilers lay out code."""

import pytest

from libswap.elf.image import Image
from libswap.survival.accesses import Access, Probe, Profile
from libswap.survival.bodies import Bodies
from libswap.survival.code import Code
from libswap.survival.forms import Forms
from libswap.survival.reached import Reached, Touch
from libswap.survival.steps import Steps
from libswap.survival.summaries import Summaries
from libswap.survival.texts import Texts
from support.compiler import Compiler

pytestmark = pytest.mark.compiler


def profile(compiler: Compiler, assembly: str, name: str = "f") -> tuple[Profile, Code]:
    """Of one function among some that are written in assembly."""
    text = "".join(f'"{line.strip()}\\n"\n' for line in assembly.strip().splitlines())
    frames = f'asm(".text\\n"\n{text});\n'
    code = Code(Image(compiler.library(frames, "-O2").read_bytes(), "assembly"))
    return Summaries.over(Bodies(code, Forms(Steps()))).profile(code.own[name]), code


def function(name: str, body: str, *, exported: bool = True) -> str:
    """With the directives that tell where it begins and ends."""
    scope = f".globl {name}\n" if exported else ""
    return (
        f"{scope}.type {name}, @function\n{name}:\n.cfi_startproc\n{body}\n"
        f".cfi_endproc\n.size {name}, .-{name}\n"
    )


def test_a_loop_that_is_entered_at_its_end(compiler: Compiler) -> None:
    body = """
        mov %rdi, %r11
        jmp 2f
        1: mov 24(%r11), %rsi
        2: test %rsi, %rsi
        jne 1b
        ret"""
    found, _ = profile(compiler, function("f", body))
    assert found.accesses == {Access((0,), 24, 8)}


def test_the_cases_of_two_switches_are_told_apart(compiler: Compiler) -> None:
    body = """
        mov %rsi, %r11
        cmp $1, %edx
        ja 9f
        lea 7f(%rip), %rax
        movslq (%rax,%rdx,4), %rdx
        add %rax, %rdx
        jmp *%rdx
        4: mov %rdi, %r11
        cmp $1, %ecx
        ja 9f
        lea 8f(%rip), %rax
        movslq (%rax,%rcx,4), %rcx
        add %rax, %rcx
        jmp *%rcx
        5: mov 8(%r11), %rax
        ret
        6: mov 16(%r11), %rax
        9: ret"""
    tables = """
        .section .rodata
        .balign 4
        7: .long 4b-7b, 6b-7b
        8: .long 5b-8b, 9b-8b
        .text"""
    found, _ = profile(compiler, function("f", body) + tables)
    assert found.accesses == {Access((0,), 8, 8), Access((1,), 16, 8)}


@pytest.mark.parametrize(
    ("callee", "seen"),
    [("xor %eax, %eax", {Access((0,), 40, 8)}), ("mov %eax, %r11d", set())],
)
def test_a_register_that_the_callee_leaves_alone_keeps_its_value(
    compiler: Compiler, callee: str, seen: set[Access]
) -> None:
    both = function("g", f"{callee}\nret", exported=False)
    both += function("f", "mov %rdi, %r11\ncall g\nmov 40(%r11), %rax\nret")
    found, _ = profile(compiler, both)
    assert found.accesses == seen


@pytest.mark.parametrize("store", ["mov %rax, 8(%rdi)", "movq %rax, %xmm0\nmovups %xmm0, 8(%rdi)"])
def test_an_address_that_is_looked_for_and_stored(compiler: Compiler, store: str) -> None:
    body = f"lea g(%rip), %rax\ncmp %rax, 8(%rdi)\nje 1f\n{store}\n1: ret"
    found, code = profile(compiler, function("g", "ret", exported=False) + function("f", body))
    [where] = (f.start for f in code.functions if f.name == "g")
    assert found.probes == {Probe(where, ((0,), 8))}
    assert found.stored == {where}


def test_an_address_is_forgotten_behind_a_jump(compiler: Compiler) -> None:
    body = "test %rsi, %rsi\nje 1f\nlea g(%rip), %rax\njmp 2f\n1: cmp %rax, (%rdi)\n2: ret"
    found, _ = profile(compiler, function("g", "ret", exported=False) + function("f", body))
    assert found.probes == set()


def test_data_is_reached_through_what_a_callee_leaves_alone(compiler: Compiler) -> None:
    body = """
        lea data(%rip), %rcx
        call g
        mov %eax, 8(%rcx)
        ret
    """
    found, code = profile(
        compiler, function("g", "xor %eax, %eax\nret", exported=False) + function("f", body)
        + ".local data\n.comm data, 64, 64\n",
    )  # fmt: skip
    texts = Texts(Bodies(code, Forms(Steps())))
    [at] = {a.offset - 8 for a in found.trace if a is not None}
    assert Reached(texts, frozenset(texts.edges)).within(at, 64) == {Touch(8, 4)}
