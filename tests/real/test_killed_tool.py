"""libswap is killed at any moment: the server goes on, and the next run puts things right.

More of it: `LIBSWAP_KILLS=200 LIBSWAP_SEED=7 pytest tests/real/test_killed_tool.py --timeout=3600`.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.http_load import Load
from support.nginx import SLOW, complaints, nginx, pages
from support.servers import put

KILLS: Final = int(os.environ.get("LIBSWAP_KILLS", "3"))
SEED: Final = int(os.environ.get("LIBSWAP_SEED", "1"))
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace]


def test_sigkill_at_random_moments_costs_no_request(
    build: Callable[[str], Build], tmp_path: Path, state_dir: Path
) -> None:
    builds = [build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")]
    library = put(builds[0].path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    del content[SLOW]
    libswap, chance = Libswap(state_dir), random.Random(SEED)
    with (
        nginx(tmp_path, library.parent) as server,
        Load(server.port, content, clients=2, bound=10 * KILLS + 60, pause=UNHURRIED) as load,
    ):
        pids = server.pids
        load.more(20)
        whole = _seconds(libswap, builds[1].path, library)
        killed = 0
        turn = 0
        while turn < KILLS or not killed:
            new = builds[turn % 2]
            put(new.path, library)
            begun = libswap.start("live", library)
            moment = chance.uniform(0.2, 1.0) * whole
            time.sleep(moment)  # the moment is the test
            if begun.poll() is None:
                killed += 1
            else:
                whole = moment  # the machine has less to do than when it was measured
            begun.kill()
            begun.communicate()
            load.more(20)
            assert not load.failures, f"turn {turn}: {load}"
            again = libswap("live", library, "--wait=30")
            done = time.monotonic()
            assert again.code == 0, f"turn {turn}: {again}"
            load.more(20)
            assert load.begun_since(done).keys() == {new.mark}, f"turn {turn}: {load}\n{again}"
            turn += 1
        assert server.pids == pids
    assert not complaints(tmp_path)
    assert not load.failures, load


def _seconds(libswap: Libswap, new: Path, library: Path) -> float:
    """How long an undisturbed run takes."""
    begun = time.monotonic()
    put(new, library)
    moved = libswap("live", library, "--wait=30")
    assert moved.code == 0, moved
    return time.monotonic() - begun
