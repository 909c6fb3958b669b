"""A write that a stop broke off goes on; where it cannot, it is short, never wrong."""

from collections.abc import Iterator

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.calls import Call
from libswap.live.transaction import commit
from libswap.live.writing import Prepared
from support.compiler import Compiler
from support.death import deaths
from support.target import Target, borrowed_thread, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


@pytest.fixture
def target(compiler: Compiler) -> Iterator[Target]:
    with running(compiler.program("live/writer.c", "-O2", "-pthread")) as target:
        yield target


def said(target: Target, question: str = "") -> list[int]:
    """Writes that came back short, wrong bytes, signals handled."""
    target.say(question)
    return [int(n) for n in target.line().split()]


def stop(target: Target) -> None:
    with ProcessMemory(target.pid) as memory:
        commit(target.identity, memory, Prepared(()), wait=5)


@pytest.mark.scenario("threads", ("blocked in the middle of a write",), live="works")
def test_a_blocked_writer_is_stopped_again_and_again(target: Target) -> None:
    for _ in range(5):
        for _ in range(3):
            stop(target)
        assert said(target) == [0, 0, 0]


def test_a_blocked_writer_is_borrowed(target: Target) -> None:
    writer = target.tids()[-1]
    with borrowed_thread(target, writer) as thread:
        thread.run([Call(target.function("getpid"))], timeout=5)
    stop(target)
    assert said(target) == [0, 0, 0]


def test_a_handler_ends_it_as_it_would_have_without_us(target: Target) -> None:
    stop(target)
    assert said(target, "signal") == [1, 0, 1]
    assert said(target) == [1, 0, 1]


def test_where_threads_are_cancelled_it_stays_short(target: Target) -> None:
    assert said(target, "cancel") == [0, 0, 0]
    stop(target)
    assert said(target) == [1, 0, 0]


def test_killed_at_any_step_no_byte_is_lost_or_doubled(target: Target) -> None:
    steps = 0
    for steps in deaths(lambda: stop(target)):
        assert said(target)[1:] == [0, 0], f"killed at step {steps}"
    assert steps > 8
