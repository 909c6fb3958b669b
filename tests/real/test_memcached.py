"""memcached, whose ten workers never leave libevent's loop, is moved between builds of libevent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.memcache_load import MemcacheLoad, told_by
from support.memcached import memcached
from support.servers import put

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace]
Builds = Callable[[str], Build]


def test_strict_names_the_loop_and_changes_nothing_and_relaxed_moves_all_ten_threads(
    build: Builds, tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("libevent 2.1.12 first"), build("libevent 2.1.12 second")
    library = put(old.path, tmp_path / "lib" / "libevent-2.1.so.7")
    libswap = Libswap(state_dir)
    live = ("live", library, "--accept-unknown")
    with (
        memcached(tmp_path, library.parent) as server,
        MemcacheLoad(server.port, clients=10, pause=UNHURRIED) as load,
    ):
        load.more(200)
        pid = server.process.pid
        put(new.path, library)
        refused = libswap(*live, f"--pid={pid}", "--wait=1")
        assert refused.code != 0, refused
        assert "epoll_dispatch of libevent" in refused.said, "where the threads are"
        assert told_by(server.port, "libevent") == old.mark, "the process is as it was"
        load.more(200)
        for build_ in (new, old):
            put(build_.path, library)
            moved = libswap(*live, f"--pid={pid}", "--relaxed", "--wait=30")
            assert moved.code == 0, moved
            assert told_by(server.port, "libevent") == build_.mark
            load.more(400)
        assert server.process.poll() is None
    assert not load.failures, load
