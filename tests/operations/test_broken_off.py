"""A swap that was broken off is finished as it was begun, whatever is found out about it then."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from libswap.errors.live import RecordDamaged
from libswap.linux.memory import ProcessMemory
from libswap.live import preparation
from libswap.live.registry import Pending
from libswap.operations.survival import nameless
from libswap.operations.unfinished import finish
from libswap.settings import Settings
from support.compiler import Compiler
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = (
    "#if VERSION == 2\nstatic long more[40]; long *told(void) { return more; }\n#endif\n"
    "static int count = 7, other = 5; int *place(void) { return &count; }\n"
    "int next(void) { other += 2; count += other; return count; }\n"
    "int version(void) { return VERSION; }\n"
)
PROGRAM = (
    "int next(void); int version(void); int *place(void);\n"
    "int main(void) { int *saved = place(); ready(); while (asked())\n"
    "{ int n = next(); answer((n * 1000 + *saved) * 10 + version()); } }\n"
)
_TURNED = b"\1\0\0\0"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libbroken.so")


def _killed_behind_the_turn(work: Callable[[], object]) -> None:
    """Do it in a process that ends right after the write that is the swap."""
    child = os.fork()
    if child == 0:
        plain = ProcessMemory.write

        def write(memory: ProcessMemory, address: int, data: bytes) -> None:
            plain(memory, address, data)
            if data == _TURNED:
                os._exit(0)

        ProcessMemory.write = write  # type: ignore[method-assign]
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _answers(count: int) -> list[int]:
    found, value, other = [], 7, 5
    for _ in range(count):
        other += 2
        value += other
        found.append(value * 1000 + value)
    return found


def _without_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameless, "Settings", lambda: replace(Settings(), survival_time=0.0))


def test_what_was_begun_is_carried_without_the_proof(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.install(stage.build(LIBRARY, "-s", version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    with stage.running(made) as target:
        found = [int(target.ask()), int(target.ask())]
        stage.install(stage.build(LIBRARY, "-s", version=2))
        _killed_behind_the_turn(lambda: stage.moved(target))
        _without_time(monkeypatch)
        (done,) = finish([target.pid]).processes
        assert not done.trouble
        found += [int(target.ask()), int(target.ask())]
    assert [f // 10 for f in found] == _answers(4)
    assert [f % 10 for f in found] == [1, 1, 2, 2]


def test_a_record_that_does_not_say_what_was_begun_needs_the_proof(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.install(stage.build(LIBRARY, "-s", version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))

    def silent(family: int, source: int, target: int, fresh: tuple[tuple[int, str], ...],
               _: tuple[int, ...], sizes: tuple[int, ...]) -> Pending:  # fmt: skip
        whole = (
            (at, text.ljust(2 * size, "0")) for (at, text), size in zip(fresh, sizes, strict=True)
        )
        return Pending(family, source, target, tuple(whole))

    with stage.running(made) as target:
        found = [int(target.ask())]
        stage.install(stage.build(LIBRARY, "-s", version=2))
        with monkeypatch.context() as older:
            older.setattr(preparation, "Pending", silent)
            _killed_behind_the_turn(lambda: stage.moved(target))
        with monkeypatch.context() as hasty:
            _without_time(hasty)
            (left,) = finish([target.pid]).processes
            assert "is not known" in left.trouble
            assert RecordDamaged(target.pid, "").message.split(":")[0] in left.trouble
        (done,) = finish([target.pid]).processes
        assert not done.trouble
        found += [int(target.ask()), int(target.ask())]
    assert [f // 10 for f in found] == _answers(3)
