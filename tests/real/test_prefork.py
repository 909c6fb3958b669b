"""A pool whose children come and go is moved: parents first, and none is left behind."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.compiler import Compiler
from support.http_load import Load
from support.prefork import prefork
from support.servers import put

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.ptrace,
    pytest.mark.compiler,
]


@pytest.mark.scenario("processes", ("pre-fork pool",), live="works")
def test_children_forked_meanwhile_are_moved_too(
    build: Callable[[str], Build], compiler: Compiler, tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")
    library = put(old.path, tmp_path / "lib" / "libz.so.1")
    content = tmp_path / "content"
    content.write_bytes(b"one of the pool answers\n" * 800)
    libswap = Libswap(state_dir)
    with (
        prefork(compiler, tmp_path, library, content) as server,
        Load(
            server.port, {"/": content.read_bytes()}, clients=3, per_connection=1, pause=UNHURRIED
        ) as load,
    ):
        load.more(200)
        for build_ in (new, old):
            moved = libswap("install", build_.path, library, "--live", "--yes", "--wait=30")
            done = time.monotonic()
            assert moved.code == 0, moved
            load.more(150)
            assert load.begun_since(done).keys() == {build_.mark}, f"{load}\n{moved}"
    assert len({answer.worker for answer in load.answers}) > 15
    assert not load.failures, load
    assert not server.log.read_text(), "a child that ended otherwise than by itself"
