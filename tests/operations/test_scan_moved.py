"""Scan knows whom libswap has moved."""

from pathlib import Path

import pytest

from libswap.operations.scan import scan_files, scan_machine
from libswap.scan.scanner import Scan
from libswap.scan.stale import Moved, Replaced
from libswap.settings import Settings
from support.compiler import Compiler
from support.swapping import Stage, reverted

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


def _pids(found: Scan) -> tuple[set[int], set[int]]:
    stale = {user.process.identity.pid for group in found.groups for user in group.users}
    return stale, {user.process.identity.pid for user in found.moved}


def test_who_was_moved_is_stale_no_more_until_he_is_moved_back(
    compiler: Compiler, tmp_path: Path
) -> None:
    stage = Stage(compiler, tmp_path / "libversion.so")
    settings = Settings(state_dir=tmp_path / "state")
    builds = [stage.build("live/version.c", "-Wl,--build-id", version=n) for n in (1, 2, 3)]
    stage.install(builds[0])
    with stage.running(stage.program("live/driver.c")) as target:
        pid = target.pid

        def look() -> tuple[bool, bool]:
            stale, moved = _pids(scan_machine(settings))
            return pid in stale, pid in moved

        def states() -> set[type]:
            found = scan_files([str(stage.place)], settings).users
            return {type(use.state) for user in found for use in user.uses}

        stage.install(builds[1])
        assert look() == (True, False)
        assert Replaced in states()
        stage.moved(target)
        assert look() == (False, True)
        assert Moved in states()
        assert Replaced not in states()
        stage.install(builds[2])
        assert look() == (True, False), "what it was moved onto is replaced in its turn"
        stage.install(builds[1])
        reverted([pid])
        assert look() == (True, False), "moved back"
