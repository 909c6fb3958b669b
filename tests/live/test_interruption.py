"""Interrupted by Ctrl-C at any step, libswap leaves a target that goes on as if nothing was."""

import struct

import pytest

from libswap.linux.memory import ProcessMemory, Range
from libswap.linux.tracer import traced
from libswap.live.calls import Call, Result, Returned
from libswap.live.quiescence import Forbidden
from libswap.live.transaction import commit
from libswap.live.writing import Prepared, Write
from support.compiler import Compiler
from support.interruption import interruptions
from support.target import RTLD_NOW, Target, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def early_and_wrong(target: Target) -> list[int]:
    target.say("report")
    return [int(n) for n in target.line().split()][1:3]


def test_borrowing_a_sleeping_thread(compiler: Compiler) -> None:
    path = str(compiler.library("live/addition.c")).encode()
    with running(compiler.program("live/sleeps.c")) as target:
        dlopen, dlclose = target.function("dlopen"), target.function("dlclose")

        def load() -> None:
            with borrowed(target) as thread:
                outcome = thread.run(
                    [Call(dlopen, (path, RTLD_NOW)), Call(dlclose, (Result(0),), given=Result(0))],
                    timeout=5,
                )
            assert isinstance(outcome, Returned)

        steps = 0
        for steps in interruptions(lambda: traced(load)):
            assert early_and_wrong(target) == [0, 0], f"interrupted at step {steps}"
        assert steps > 40
        traced(load)
        assert early_and_wrong(target) == [0, 0]


def test_committing_to_five_threads(compiler: Compiler) -> None:
    with (
        running(compiler.program("live/table.c", "-O2", "-rdynamic"), "4") as target,
        ProcessMemory(target.pid) as memory,
    ):
        table, look = target.function("table", b"/table"), target.function("look", b"/table")
        area = Range(look, look + target.size("look", b"/table"))

        def number() -> int:
            return struct.unpack("<q", memory.read(table, 8))[0]

        def write_next() -> None:
            old = memory.read(table, 8 * 2048)
            new = struct.pack("<q", struct.unpack_from("<q", old)[0] + 1) * 2048
            prepared = Prepared(((Write(table, old, new),),), (Forbidden(area, "look"),))
            commit(target.identity, memory, prepared, wait=10)

        steps, before = 0, number()
        for steps in interruptions(lambda: traced(write_next)):
            target.say("report")
            assert target.line().split()[1] == "0", f"interrupted at step {steps}"
            assert number() in (before, before + 1)
            before = number()
        assert steps > 20
