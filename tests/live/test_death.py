"""Killed by SIGKILL at any step, libswap leaves behind a target that goes on as if nothing was."""

import struct

import pytest

from libswap.linux.memory import ProcessMemory, Range
from libswap.live.calls import Call, Result, Returned
from libswap.live.quiescence import Forbidden
from libswap.live.transaction import commit
from libswap.live.writing import Prepared, Write
from support.compiler import Compiler
from support.death import deaths
from support.target import RTLD_NOW, Target, borrowed, borrowed_thread, running

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
        for steps in deaths(load):
            assert early_and_wrong(target) == [0, 0], f"killed at step {steps}"
        assert steps > 50


@pytest.mark.slow
def test_borrowing_a_thread_with_a_value_in_every_register(compiler: Compiler) -> None:
    path = str(compiler.library("live/clobber.c", "-mno-avx")).encode()
    with running(compiler.program("live/canary.c", "-O1")) as target:
        spinning = target.tids()[-1]
        with borrowed_thread(target, spinning) as thread:
            thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
        clobber = target.function("clobber", path)

        def call() -> None:
            with borrowed_thread(target, spinning) as thread:
                thread.run([Call(clobber)], timeout=5)

        steps = 0
        for steps in deaths(call):
            target.say("report")
            assert target.line().startswith("intact"), f"killed at step {steps}"
        assert steps > 40


def test_committing_to_five_threads(compiler: Compiler) -> None:
    with (
        running(compiler.program("live/table.c", "-O2", "-rdynamic"), "4") as target,
        ProcessMemory(target.pid) as memory,
    ):
        table, look = target.function("table", b"/table"), target.function("look", b"/table")
        area = Range(look, look + target.size("look", b"/table"))

        def write_next() -> None:
            old = memory.read(table, 8 * 2048)
            new = struct.pack("<q", struct.unpack_from("<q", old)[0] + 1) * 2048
            prepared = Prepared(((Write(table, old, new),),), (Forbidden(area, "look"),))
            commit(target.identity, memory, prepared, wait=10)

        steps = 0
        for steps in deaths(write_next):
            target.say("report")
            assert target.line().split()[1] == "0", f"killed at step {steps}"
        assert steps > 20
