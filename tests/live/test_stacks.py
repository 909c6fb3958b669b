"""Callers are seen on every stack that code is live on."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libswap.errors.live import CommitBlocked
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.quiescence import Forbidden
from libswap.live.stacks import Areas
from libswap.live.transaction import commit
from libswap.live.writing import Prepared
from support.compiler import Compiler
from support.target import Target, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


@pytest.mark.parametrize("start", [0x10, 0x7F12_3456_7000, 0x55_0000_0000, 1 << 47])
@pytest.mark.parametrize("size", [8, 1 << 25, 3 << 30])
def test_words_into_a_range_are_found_wherever_it_lies(start: int, size: int) -> None:
    values = (start - 1, start, 0, start + size - 1, start + size, (1 << 56) + start)
    data = struct.pack("<6Q", *values)
    wanted, expected = Areas([Range(start, start + size)]), [(8, start), (24, start + size - 1)]
    assert [(hit.at - 0x1000, hit.value) for hit in wanted.hits(data, 0x1000)] == expected
    assert [(hit.at - 0x1003, hit.value) for hit in wanted.hits(b"\0" * 5 + data, 0x1003)] == [
        (at + 5, value) for at, value in expected
    ]
    found = wanted.hits(b"\0" + data, 0x1000, aligned=False)
    assert {(9, start), (25, start + size - 1)} <= {(hit.at - 0x1000, hit.value) for hit in found}


@contextmanager
def interrupted(compiler: Compiler, where: str) -> Iterator[tuple[Target, Prepared]]:
    with running(compiler.program("live/stacks.c", "-O1", "-rdynamic", "-pthread"), where) as one:
        start, size = one.function("inside", b"/stacks"), one.size("inside", b"/stacks")
        yield one, Prepared((), (Forbidden(Range(start, start + size), "inside"),))


@pytest.mark.parametrize("where", ["apart", "beside", "twice"])
def test_a_caller_below_signal_handlers_stands_in_the_way(compiler: Compiler, where: str) -> None:
    with (
        interrupted(compiler, where) as (target, prepared),
        ProcessMemory(target.pid) as memory,
        pytest.raises(CommitBlocked, match="will return into inside"),
    ):
        commit(target.identity, memory, prepared, wait=0.1)


@pytest.mark.parametrize("where", ["deep", "deep apart"])
def test_a_stack_of_which_too_much_is_in_use_is_nobodys_to_judge(
    compiler: Compiler, where: str
) -> None:
    with (
        interrupted(compiler, where) as (target, prepared),
        ProcessMemory(target.pid) as memory,
        pytest.raises(CommitBlocked, match="over 64 MB"),
    ):
        commit(target.identity, memory, prepared, wait=0.1)


def test_handlers_below_which_nobody_is_inside_do_not(compiler: Compiler) -> None:
    with interrupted(compiler, "out") as (target, prepared), ProcessMemory(target.pid) as memory:
        assert commit(target.identity, memory, prepared, wait=5).attempts
