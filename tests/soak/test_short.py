"""The short form of `python -m tests.soak`; LIBSWAP_SOAK_SECONDS makes it longer."""

import os
from pathlib import Path
from typing import Final

import pytest

from support.debian import Unavailable
from tests.soak.scene import run, scene

SECONDS: Final = float(os.environ.get("LIBSWAP_SOAK_SECONDS", "10"))
pytestmark = [
    pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace, pytest.mark.compiler,
    pytest.mark.timeout(120 + 2 * SECONDS),
]  # fmt: skip


def test_servers_notice_nothing_of_all_that_is_done_to_them_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    try:
        with scene(tmp_path, SECONDS, seed=7) as stage:
            run(stage, told.append)
    except Unavailable as reason:
        pytest.skip(str(reason))
    counts = stage.figures.counts
    for done in ("live swaps of nginx", "live swaps of memcached", "patches", "deployments"):
        assert sum(number for what, number in counts.items() if done in what), counts
