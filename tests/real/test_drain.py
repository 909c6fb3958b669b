"""Real libraries whose builds do not understand each other's objects, drained under load."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from libswap.live.draining import table
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.subject import Subject
from libswap.operations.draining import (
    DrainBegun,
    DrainOptions,
    Settled,
    StillDraining,
)
from libswap.operations.settle import settle
from libswap.operations.swap import Request, swap_library
from libswap.process.identity import Identity
from support.builds import Build
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.real, pytest.mark.compiler, pytest.mark.ptrace]

PAIRS = {
    "expat": (
        "libexpat.so.1", "drain/parsers.c", "expat of Debian 12",
        "expat of Debian 12 with security updates",
    ),
    "zlib": ("libz.so.1", "drain/streams.c", "zlib 1.2.13 of Debian", "zlib 1.3.1 reshaped"),
}  # fmt: skip


@pytest.fixture(params=PAIRS)
def stage(
    request: pytest.FixtureRequest, compiler: Compiler, tmp_path: Path,
    build: Callable[[str], Build],
) -> tuple[Stage, Path, Path]:  # fmt: skip
    """With the old build in place, the program that uses it, and the new build."""
    soname, source, old, new = PAIRS[request.param]
    stage = Stage(compiler, tmp_path / soname)
    stage.install(build(old).path)
    program = stage.program(source, "-pthread", "-include", str(stage.header))
    return stage, program, build(new).path


def _more(target: Target, rounds: int) -> None:
    """Wait until every thread has gone on for a while."""
    aim = int(target.ask("documents")) + rounds
    while int(target.ask("documents")) < aim:
        assert target.ask("wrong") == "0"


def test_long_lived_objects_stay_with_their_code(stage: tuple[Stage, Path, Path]) -> None:
    place, program, new = stage
    with place.running(program) as target:
        _more(target, 50)
        place.install(new)
        request = Request(place.place, pids=(target.pid,), drain=DrainOptions())
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        _more(target, 400)
        (result,) = settle([place.place], [target.pid], Options()).processes
        assert isinstance(result.outcome, StillDraining)
        assert result.outcome.left.seen >= 4
        assert target.ask("end", seconds=60) == "0"
        (result,) = settle([place.place], [target.pid], Options(force=True)).processes
        assert isinstance(result.outcome, Settled), result.outcome


def test_taken_for_new_ones_they_are_lost(stage: tuple[Stage, Path, Path]) -> None:
    """Else the test above would prove nothing."""
    place, program, new = stage
    lost = False
    with suppress(BrokenPipeError), place.ending(program) as target:
        _more(target, 50)
        assert target.ask("pause") == "0"
        place.install(new)
        request = Request(place.place, pids=(target.pid,), drain=DrainOptions())
        (result,) = swap_library(request).processes
        assert isinstance(result.outcome, DrainBegun), result.outcome
        with Subject.open(Identity.of(target.pid), LibraryCache()) as subject:
            (drain,) = subject.record.drains
            subject.memory.write(drain.table + table.SETTLED, b"\1\0\0\0")
        question = "go"
        while not lost:
            try:
                lost = target.ask(question) != "0"
                question = "wrong"
            except (AssertionError, BrokenPipeError):
                lost = True
    assert lost
