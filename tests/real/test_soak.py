"""Swap after swap of one loaded target: nothing grows, nothing fails.

The full count: `LIBSWAP_SOAK=1000 pytest tests/real/test_soak.py --timeout=7200`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.footprint import Footprint
from support.http_load import Load
from support.nginx import SLOW, complaints, nginx, pages
from support.servers import put

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace]
SWAPS: Final = int(os.environ.get("LIBSWAP_SOAK", "6"))
WARM: Final = 4


def test_consecutive_swaps_leave_a_loaded_target_no_larger(
    build: Callable[[str], Build], tmp_path: Path, state_dir: Path
) -> None:
    builds = [build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")]
    library = put(builds[0].path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    del content[SLOW]
    libswap = Libswap(state_dir)
    with (
        nginx(tmp_path, library.parent, workers=1) as server,
        Load(server.port, content, clients=2, bound=5 * SWAPS + 60, pause=UNHURRIED) as load,
    ):
        load.more(60)
        pids = server.pids
        early: dict[int, Footprint] = {}
        for turn in range(1, SWAPS + 1):
            new = builds[turn % 2]
            put(new.path, library)
            moved = libswap("live", library, *(f"--pid={pid}" for pid in pids), "--wait=30")
            done = time.monotonic()
            assert moved.code == 0, f"swap {turn}: {moved}"
            load.more(10)
            assert load.begun_since(done).keys() == {new.mark}, f"swap {turn}: {load}"
            assert not load.failures, f"swap {turn}: {load}"
            if turn == WARM:
                early = {pid: Footprint.of(pid) for pid in pids}
        assert server.pids == pids
        for pid in pids:
            now = Footprint.of(pid)
            assert now.threads == early[pid].threads
            assert now.descriptors <= early[pid].descriptors + 2
            assert now.mappings <= early[pid].mappings + 2, f"{early[pid]} → {now}"
            assert now.reserved <= early[pid].reserved + 2048, f"{early[pid]} → {now}"
            assert now.resident <= early[pid].resident + 2048, f"{early[pid]} → {now}"
    assert not complaints(tmp_path)
