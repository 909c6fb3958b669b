"""libswap is killed at any moment: the server goes on, and the next run puts things right."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.builds import Build
from support.command import Libswap
from support.http_load import Load
from support.nginx import SLOW, complaints, nginx, pages
from support.servers import put

pytestmark = [pytest.mark.real, pytest.mark.root, pytest.mark.ptrace]


@pytest.mark.parametrize("seed", [1, 2])
def test_sigkill_at_random_moments_costs_no_request(
    build: Callable[[str], Build], tmp_path: Path, state_dir: Path, seed: int
) -> None:
    builds = [build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")]
    library = put(builds[0].path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    del content[SLOW]
    libswap, chance = Libswap(state_dir), random.Random(seed)
    with nginx(tmp_path, library.parent) as server, Load(server.port, content) as load:
        pids = server.pids
        load.more(60)
        whole = _seconds(libswap, builds[1].path, library)
        killed = 0
        for turn in range(8):
            new = builds[turn % 2]
            put(new.path, library)
            begun = libswap.start("live", library)
            time.sleep(chance.uniform(0.2, 1.0) * whole)  # the moment is the test
            killed += begun.poll() is None
            begun.kill()
            begun.communicate()
            load.more(30)
            assert not load.failures, f"turn {turn}: {load}"
            again = libswap("live", library)
            done = time.monotonic()
            assert again.code == 0, f"turn {turn}: {again}"
            load.more(30)
            assert load.begun_since(done).keys() == {new.mark}, f"turn {turn}: {load}\n{again}"
        assert server.pids == pids
    assert killed > 0
    assert not complaints(tmp_path)
    assert not load.failures, load


def _seconds(libswap: Libswap, new: Path, library: Path) -> float:
    """How long an undisturbed run takes."""
    begun = time.monotonic()
    put(new, library)
    moved = libswap("live", library)
    assert moved.code == 0, moved
    return time.monotonic() - begun
