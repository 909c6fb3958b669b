"""Taking swaps back, in every order, and one after the other."""

from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.live.registry import MAPPED
from libswap.operations.moves import Moved, Refused
from libswap.operations.swap import Request, swap_library
from libswap.process.maps import maps_of
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
PROGRAM = "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def scene(group: str, *situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario(group, situations, live=live)


@scene("undo", "of something that was never applied", "twice", live="refused: NothingSwapped")
@scene("undo", "revert at once")
def test_back_once_and_not_twice(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        assert target.ask() == "11"
        (nothing,) = reverted([target.pid])
        assert isinstance(nothing, Refused)
        assert nothing.error == "NothingSwapped"
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        (back,) = reverted([target.pid])
        assert isinstance(back, Moved), back
        (again,) = reverted([target.pid])
        assert isinstance(again, Refused)
        assert again.error == "NothingSwapped"
        assert target.ask() == "21"


@scene("undo", "in another order", live="the last one first; an earlier one is refused by name")
@scene("series", "swap A→B→C→A")
def test_the_last_swap_goes_back_first(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        ids = []
        for version in (2, 3):
            stage.install(stage.build(LIBRARY, version=version))
            ids.append(stage.moved(target).id)
        (early,) = reverted([target.pid], ids[0])
        assert isinstance(early, Refused), early
        assert target.ask() == "13"
        for version in (2, 1):
            assert isinstance(reverted([target.pid])[0], Moved)
            assert target.ask()[-1] == str(version)
        for version in (2, 3, 1):
            stage.install(stage.build(LIBRARY, version=version))
            stage.moved(target)
            assert target.ask()[-1] == str(version)


LONG = (
    "int slow(int (*ask)(void)) { int n = 0; while (ask()) n++; return n * 10 + VERSION; }\n"
    "int version(void) { return VERSION; }\n"
)
EVENTS = (
    "int slow(int (*)(void)), version(void);\nstatic int one(void) { if (!asked() ||"
    ' !strcmp(line, "stop")) return 0; answer(version()); return 1; }\n'
    'int main(void) { ready(); while (asked()) answer(strcmp(line, "slow") ? version() :'
    " slow(one)); }\n"
)


@scene("undo", "with a thread inside the patched function", live="refused by name until it leaves")
def test_back_while_a_thread_is_inside(stage: Stage) -> None:
    stage.install(stage.build(LONG, version=1))
    with stage.running(stage.program(EVENTS, "-include", str(stage.header))) as target:
        stage.install(stage.build(LONG, version=2))
        stage.moved(target)
        assert target.process.stdin is not None
        target.process.stdin.write(b"slow\n")
        assert target.ask() == "2"
        (inside,) = reverted([target.pid], wait=0.1)
        assert isinstance(inside, Refused)
        assert inside.error == "CommitBlocked"
        assert target.ask("stop") == "12"
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "1"


@scene("undo", "with a damaged record", live="refused: RecordDamaged")
@pytest.mark.parametrize("damage", [b"no record", b"libswap\0\xff\xff\xff\xff"])
def test_a_damaged_record_is_not_believed(stage: Stage, damage: bytes) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        at = next(m.start for m in maps_of(target.pid) if m.name == MAPPED)
        with ProcessMemory(target.pid) as memory:
            whole = memory.read(at, len(damage))
            memory.write(at, damage)
            (refused,) = reverted([target.pid])
            assert isinstance(refused, Refused)
            assert refused.error == "RecordDamaged"
            stage.install(stage.build(LIBRARY, version=3))
            assert stage.refused(target).error == "RecordDamaged"
            assert target.ask() == "12"
            memory.write(at, whole)
        assert isinstance(reverted([target.pid])[0], Moved)
        assert target.ask() == "21"


@scene(
    "tool", "library replaced again while live runs", live="the file that was asked for, or refused"
)
def test_a_file_that_changes_under_our_hands(stage: Stage) -> None:
    builds = {v: stage.build(LIBRARY, version=v) for v in (1, 2, 3)}
    stage.install(builds[1])
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        assert target.ask() == "11"
        stage.install(builds[2])

        def meddle(_pid: int, step: str) -> None:
            if step == "load":
                stage.install(builds[3])

        report = swap_library(Request(stage.place, pids=(target.pid,)), meddle)
        (result,) = report.processes
        assert isinstance(result.outcome, Refused), result
        assert target.ask() == "21"
        stage.moved(target)
        assert target.ask() == "33"


@scene("tool", "clock jump")
def test_a_clock_that_jumps_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    with stage.running(stage.program(PROGRAM, "-include", str(stage.header))) as target:
        for version, now in ((2, 4e9), (3, 1.0)):
            monkeypatch.setattr("time.time", lambda now=now: now)
            stage.install(stage.build(LIBRARY, version=version))
            stage.moved(target)
        assert target.ask() == "13"
        for version in (2, 1):
            assert isinstance(reverted([target.pid])[0], Moved)
            assert target.ask()[-1] == str(version)
