"""memcached with ten worker threads, which are always inside libevent's loop."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from support.servers import Server, started


def memcached(work: Path, libraries: Path, threads: int = 10) -> AbstractContextManager[Server]:
    """The machine's memcached on a free port of the loopback."""
    if shutil.which("memcached") is None:
        pytest.skip("memcached is not installed: apt-get install memcached")

    def command(port: int) -> list[object]:
        return ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", port, "-t", threads, "-m", 64]

    return started(command, work / "memcached.log", libraries)
