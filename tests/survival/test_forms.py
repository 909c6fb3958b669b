"""The same code at other places has one form; what is another function has another."""

import pytest

from libswap.elf.image import Image
from libswap.linux.budget import Budget
from libswap.survival.code import Code
from libswap.survival.examination import examine
from libswap.survival.forms import Form, Forms
from libswap.survival.functions import Pairs
from libswap.survival.sources import Source, bodies, read_once
from libswap.survival.steps import Steps
from support.compiler import Compiler

CALL = b"\xe8%b\xc3"
LOAD = b"\x48\x8b\x05%b\xc3"
JUMP = 5
"""Bytes of an instruction with a distance and an opcode of one byte."""
NUMBER = b"\x81\x3d%b\x07\x00\x00\x00\xc3"
"""cmpl $7, place(%rip): the distance does not stand at the end."""


def word(distance: int) -> bytes:
    return distance.to_bytes(4, "little", signed=True)


@pytest.fixture
def forms() -> Forms:
    return Forms(Steps())


def form(forms: Forms, code: bytes) -> Form:
    return forms.of(code)[0]


@pytest.mark.parametrize("code", [CALL, LOAD, NUMBER])
def test_distances_do_not_count_and_are_told(forms: Forms, code: bytes) -> None:
    one, places = forms.of(code % word(0x500))
    other, others = forms.of(code % word(-0x300))
    assert one is other
    assert others[0] - places[0] == -0x800
    for where, at in (((0x1000), places), ((0x2000), others)):
        [step] = [s for s in one.steps(where, at) if s.goal or s.width]
        assert (step.goal or step.offset) == where + at[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (NUMBER % word(9), NUMBER.replace(b"\x07", b"\x08") % word(9)),
        (b"\x3d\x05\x00\x00\x00\xc3", b"\x3d\x06\x00\x00\x00\xc3"),  # cmp $5 or $6, %eax
        (CALL % word(0x100), CALL % word(-5)),  # of another function, and of itself
        (b"\x74\x02\x90\x90\xc3", b"\x74\x01\x90\x90\xc3"),  # inner jumps
        (CALL % word(0x100), b"\xe8"),
        (CALL % word(0x100), CALL % word(0x100) + b"\x90"),
    ],
)
def test_all_else_does_count(forms: Forms, one: bytes, other: bytes) -> None:
    for first, second in ((one, other), (other, one)):
        assert form(forms, first) is not form(forms, second)


def test_a_form_is_found_among_many_that_begin_alike(forms: Forms) -> None:
    head = b"\x48\x8b\x47\x08\x48\x8b\x57\x10"
    codes = [head + b"\x83\xc0" + bytes([n]) + CALL % word(n << 8) for n in range(40)]
    found = [form(forms, code) for code in codes]
    assert len(set(found)) == len(codes)
    assert [form(forms, code) for code in reversed(codes)] == found[::-1]


def test_what_lies_before_a_function_is_left_by_a_jump(forms: Forms) -> None:
    _, places = forms.of(b"\xeb\xf0\xc3")
    assert places == (-14,)


@pytest.mark.compiler
def test_when_the_time_is_up_nothing_more_is_paired_or_said(compiler: Compiler) -> None:
    old, new = (
        Source(Image(compiler.library("survival/store.c", "-O2", *flags).read_bytes(), "store"))
        for flags in ((), ("-DFIXED",))
    )
    pairs = Pairs(*bodies(old, new))
    pairs.find(Budget(processor=0))
    names = {f.name for f in Code(old.image).functions if f.start in pairs.functions}
    assert "store_put" in names  # by its name, without a look at it
    found = examine(old, new, seconds=0)
    assert found.compared is not None
    assert found.compared.unseen >= len(pairs.functions)


@pytest.mark.compiler
def test_two_files_are_read_once_and_then_let_go(compiler: Compiler) -> None:
    data = compiler.library("survival/store.c", "-O2").read_bytes()
    old, new = Source(Image(data, "old")), Source(Image(data, "new"))
    assert bodies(old, new)[0] is not bodies(old, new)[0]
    with read_once():
        first, second, third = (bodies(old, new)[0] for _ in range(3))
    assert first is second is not third


def test_what_names_a_place_in_an_unusual_way_is_told_like_all_else(forms: Forms) -> None:
    short = b"\x48\x89\xd8\x74\x07\xe3\xf0\xc3"  # mov %rbx, %rax; jz +7; jrcxz -16; ret
    found, places = forms.of(short)
    assert places == (12, -9)
    assert [s.goal for s in found.steps(0x1000, places)] == [0, 0x100C, 0xFF7, 0]
    fixed = b"\x64\x48\x8b\x05\x10\x00\x00\x00\xc3"  # mov %fs:0x10(%rip), %rax
    assert forms.of(fixed)[1] == ()
    aborting = b"\x66\xc7\xf8\x10\x00\xc3"  # xbegin with two bytes of distance
    found, places = forms.of(aborting)
    assert places == ()
    assert form(forms, b"\x66\xc7\xf8\x20\x00\xc3") is not found
    cut = b"\xe8\x00\x00\x00\x00\x0f\x84\x00"
    assert form(forms, cut).read == JUMP


@pytest.mark.parametrize("behind", [b"", b"\x07", b"\x07\x00", b"\x07\x00\x00\x00"])
def test_a_distance_is_found_with_whatever_stands_behind_it(forms: Forms, behind: bytes) -> None:
    head = {0: b"\x8b\x05", 1: b"\x83\x3d", 2: b"\x66\x81\x3d", 4: b"\x81\x3d"}[len(behind)]
    for distance in (0x100, -0x200, 0x300):
        found, places = forms.of(head + word(distance) + behind + b"\xc3")
        assert places == (len(head) + JUMP - 1 + len(behind) + distance,)
        [first, _] = found.steps(0x1000, places)
        assert first.offset == 0x1000 + places[0]
        assert first.constant == (7 if behind else None)
