"""Nothing of the target is disturbed by a borrow or a stop."""

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.calls import Call, Returned
from libswap.live.transaction import Prepared, commit
from support.compiler import Compiler
from support.target import RTLD_NOW, borrowed_thread, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def test_every_register_and_errno_survive_forty_borrows(compiler: Compiler) -> None:
    library = compiler.library("live/clobber.c", "-mno-avx")
    path = str(library).encode()
    with (
        running(compiler.program("live/canary.c", "-O1")) as target,
        ProcessMemory(target.pid) as memory,
    ):
        spinning = target.tids()[-1]
        with borrowed_thread(target, spinning) as thread:
            thread.run([Call(target.function("dlopen"), (path, RTLD_NOW))], timeout=5)
        clobber = target.function("clobber", path)
        for _ in range(40):
            with borrowed_thread(target, spinning) as thread:
                outcome = thread.run([Call(clobber), Call(clobber)], timeout=5)
            assert isinstance(outcome, Returned)
            assert outcome.results == (42, 42)
            assert outcome.errnos == (99, 99)
            commit(target.identity, memory, Prepared(()), wait=5)
        target.say("report")
        assert target.line().startswith("intact")
