"""File systems without room, while a library is replaced and its process is moved."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.errors.install import NoSpace
from support.command import Libswap
from support.compiler import Compiler
from support.swapping import Stage

pytestmark = [
    pytest.mark.compiler, pytest.mark.ptrace, pytest.mark.root, pytest.mark.namespaces,
]  # fmt: skip

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
PROGRAM = "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n"


def tool(situation: str, live: str) -> pytest.MarkDecorator:
    return pytest.mark.scenario("tool", (situation,), live=live)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", point], check=True)
    yield point
    subprocess.run(["umount", "--lazy", point], check=True)


def fill(point: Path) -> None:
    with (point / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def started(stage: Stage) -> Path:
    stage.install(stage.build(LIBRARY, version=1))
    return stage.program(PROGRAM, "-include", str(stage.header))


@tool("the library's disk is full", live="`install --live` is refused: NoSpace; `live` works")
def test_no_room_where_the_library_is(compiler: Compiler, small: Path, tmp_path: Path) -> None:
    stage = Stage(compiler, small / "libscene.so")
    with stage.running(started(stage)) as target:
        assert target.ask() == "11"
        libswap, new = Libswap(tmp_path / "state"), stage.build(LIBRARY, version=2)
        fill(small)
        refused = libswap.here("install", new, stage.place, "--live", "--yes")
        assert refused.code == NoSpace.exit_code, refused
        assert target.ask() == "21"
        moved = libswap.here("live", stage.place, "--new", new)
        assert moved.code == 0, moved
        assert target.ask() == "32"
        (small / "filler").unlink()
        done = libswap.here("install", new, stage.place, "--live", "--yes")
        assert (done.code, target.ask()) == (0, "42"), done


@tool("the state's disk is full", live="`install --live` is refused: NoSpace; `live` works")
def test_no_room_where_the_state_is(compiler: Compiler, small: Path, tmp_path: Path) -> None:
    stage = Stage(compiler, tmp_path / "libscene.so")
    with stage.running(started(stage)) as target:
        assert target.ask() == "11"
        libswap, new = Libswap(small / "state"), stage.build(LIBRARY, version=2)
        fill(small)
        refused = libswap.here("install", new, stage.place, "--live", "--yes")
        assert refused.code == NoSpace.exit_code, refused
        assert target.ask() == "21"
        shutil.copy(new, fresh := tmp_path / "fresh.so")
        fresh.rename(stage.place)
        moved = libswap.here("live", stage.place)
        assert moved.code == 0, moved
        assert target.ask() == "32"
        assert libswap.here("revert", target.pid).code == 0
        assert target.ask() == "41"


@tool("the disk fills up in the middle", live="old or new, and the next run goes on")
@pytest.mark.parametrize("leave", range(4 << 10, 36 << 10, 8 << 10))
def test_a_disk_that_fills_up_meanwhile(compiler: Compiler, small: Path, leave: int) -> None:
    stage = Stage(compiler, small / "libscene.so")
    with stage.running(started(stage)) as target:
        assert target.ask() == "11"
        libswap, new = Libswap(small / "state"), stage.build(LIBRARY, version=2)
        fill(small)
        os.truncate(small / "filler", (small / "filler").stat().st_size - leave)
        done = libswap.here("install", new, stage.place, "--live", "--yes")
        assert "Traceback" not in done.said
        same = stage.place.read_bytes() == new.read_bytes()
        assert target.ask() in (("21", "22") if same else ("21",)), done
        (small / "filler").unlink()
        assert libswap.here("recover").code == 0
        final = libswap.here("install", new, stage.place, "--live", "--yes")
        assert final.code == 0, final
        assert libswap.here("live", stage.place).code == 0
        assert target.ask() == "32"
