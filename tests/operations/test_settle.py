"""What a libswap that was killed has left is finished by the next one, to the last jump."""

import json
import os
import signal
import struct
from pathlib import Path

import pytest

from libswap.cli.app import run
from libswap.linux.memory import ProcessMemory
from libswap.live import swap
from libswap.operations.moves import Moved, Skipped
from libswap.operations.status import status
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libversion.so")


def _killed_before_it_settles(stage: Stage, target: Target) -> None:
    """A swap of which only the second commit is lacking."""
    child = os.fork()
    if child == 0:
        try:
            swap.settle = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
            stage.swap(target.pid)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert _state(target) == "switched"
    assert target.ask("version") == "2"
    assert _detours(target) > 5


def _state(target: Target) -> str:
    return status([target.pid]).processes[0].events[-1].state


def _detours(target: Target) -> int:
    """How many entries of copies that are not in use lead to their gates still."""
    (process,) = status([target.pid]).processes
    count = 0
    with ProcessMemory(target.pid) as memory:
        for family in process.families:
            for copy in family.copies:
                for gate in copy.gates if copy is not family.copies[family.current] else ():
                    jump, distance = struct.unpack("<Bi", memory.read(copy.base + gate.entry, 5))
                    leads_to = copy.base + gate.entry + 5 + distance
                    count += jump == 0xE9 and copy.area <= leads_to < copy.area + copy.area_size
    return count


@pytest.mark.parametrize("how", ["live", "status", "revert"])
def test_calls_take_the_short_way_after_the_next_run(
    stage: Stage, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (stage.build("live/version.c", version=v) for v in (1, 2))
    stage.install(old)
    with stage.running(stage.program("live/driver.c")) as target:
        assert target.ask("count") == "11"
        stage.install(new)
        _killed_before_it_settles(stage, target)
        if how == "live":
            assert isinstance(stage.swap(target.pid), Skipped)
        elif how == "status":
            assert run(["status", "--settle", str(target.pid), "--json"]) == 0
            (process,) = json.loads(capsys.readouterr().out)["result"]["processes"]
            assert process["events"][-1]["state"] == "done"
        else:
            assert isinstance(reverted([target.pid])[0], Moved)
        assert _detours(target) == 0
        assert _state(target) == "done"
        expected = ("1" if how == "revert" else "2", "13")
        assert (target.ask("version"), target.ask("count")) == expected
