"""What the called code does wrong is not the target's end."""

import signal
from typing import Final

import pytest

from libswap.errors.live import ScratchTaken
from libswap.live.calls import Call, Crashed, Hung, LeftProcess, Outcome, Returned
from libswap.process.maps import maps_of
from support.compiler import Compiler
from support.target import RTLD_NOW, Target, borrowed, running

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


_SOON: Final = 0.5
"""Seconds for what does not come back; on a busy machine, other misdeeds can take longer."""


def load(compiler: Compiler, target: Target, misdeed: int, timeout: float = 20.0) -> Outcome:
    library = compiler.library("live/misfits.c", f"-DMISDEED={misdeed}")
    with borrowed(target) as thread:
        return thread.run(
            [Call(target.function("dlopen"), (str(library).encode(), RTLD_NOW))], timeout=timeout
        )


def lives(target: Target) -> bool:
    target.say("report")
    return [int(n) for n in target.line().split()][1:3] == [0, 0]


@pytest.mark.parametrize(
    ("misdeed", "signo"),
    [(1, signal.SIGSEGV), (2, signal.SIGABRT), (7, signal.SIGILL), (9, signal.SIGFPE)],
)
def test_a_constructor_that_crashes(compiler: Compiler, misdeed: int, signo: int) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        outcome = load(compiler, target, misdeed)
        assert isinstance(outcome, Crashed)
        assert outcome.signo == signo
        assert lives(target)


@pytest.mark.parametrize("misdeed", [3, 4])
def test_a_constructor_that_does_not_come_back(compiler: Compiler, misdeed: int) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        assert isinstance(load(compiler, target, misdeed, _SOON), Hung)
        assert lives(target)


@pytest.mark.parametrize("misdeed", [5, 6, 8])
def test_a_constructor_that_would_end_the_process(compiler: Compiler, misdeed: int) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        outcome = load(compiler, target, misdeed)
        assert isinstance(outcome, LeftProcess)
        assert outcome.number in (231, 59)
        assert lives(target)


@pytest.mark.parametrize("misdeed", [1, 3])
def test_afterwards_other_threads_can_still_load_libraries(
    compiler: Compiler, misdeed: int
) -> None:
    addition = compiler.library("live/addition.c")
    with running(compiler.program("live/allocators.c"), "8", addition) as target:
        assert isinstance(load(compiler, target, misdeed, _SOON), Crashed | Hung)
        target.say("report")
        before = int(target.line().split()[1])
        with borrowed(target) as thread:
            outcome = thread.run(
                [Call(target.function("dlopen"), (str(addition).encode(), RTLD_NOW))], timeout=5
            )
        assert isinstance(outcome, Returned)
        assert outcome.results[0]
        loads = before
        while loads < before + 10:  # a deadlock ends in pytest's time-out
            target.say("report")
            _, loads, faults = map(int, target.line().split())
        assert faults == 0


def test_scratch_memory_that_the_target_unmaps_is_called_so_and_the_target_lives(
    compiler: Compiler,
) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        with borrowed(target) as thread:
            place = thread._place
            unmap = [Call(target.function("munmap"), (place.start, place.size))]
            for _ in range(2):  # the call loses its own way home, then there is nowhere to write
                with pytest.raises(ScratchTaken):
                    thread.run(unmap, timeout=5)
        assert lives(target)


def test_what_the_target_mapped_in_place_of_scratch_memory_stays(compiler: Compiler) -> None:
    with running(compiler.program("live/sleeps.c")) as target:
        with borrowed(target) as thread:
            place = thread._place
            nothing, fixed = 0, 0x32  # PROT_NONE; MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
            words = (place.start, place.size, nothing, fixed, (1 << 64) - 1, 0)
            with pytest.raises(ScratchTaken):
                thread.run([Call(target.function("mmap"), words)], timeout=5)
        assert lives(target)
        own = [m for m in maps_of(target.pid) if m.start == place.start]
        assert [m.end - m.start for m in own] == [place.size]
