"""lighttpd, where only a module loaded with dlopen uses the library."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.debian import Debian, Unavailable
from support.http_load import Load
from support.lighttpd import lighttpd
from support.nginx import pages
from support.servers import put

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace]


def test_a_library_that_only_a_module_needs_is_moved(
    build: Callable[[str], Build], debian: Debian, tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")
    library = put(old.path, tmp_path / "lib" / "libz.so.1")
    # Larger pages lighttpd packs with libdeflate.
    content = {path: body for path, body in pages(tmp_path / "pages").items() if len(body) < 50_000}
    libswap = Libswap(state_dir)
    try:
        running = lighttpd(debian, tmp_path, library.parent)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with running as server, Load(server.port, content, pause=UNHURRIED) as load:
        load.more(60)
        for build_ in (new, old):
            moved = libswap("install", build_.path, library, "--live", "--yes", "--wait=30")
            done = time.monotonic()
            assert moved.code == 0, moved
            load.more(60)
            assert load.begun_since(done).keys() == {build_.mark}, load
        assert server.process.poll() is None
    assert not load.failures, load
