"""nginx under load is moved between real versions of zlib; byte 9 tells which one answered."""

import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from support.builds import Build
from support.clients import UNHURRIED
from support.command import Libswap
from support.http_load import Load
from support.nginx import SLOW, complaints, nginx, pages
from support.overlay import LIBRARIES, overlay
from support.servers import put

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.root, pytest.mark.ptrace]
Builds = Callable[[str], Build]


def move(libswap: Libswap, load: Load, new: Build, library: Path, *options: str) -> None:
    """Install and move; from then on every request is answered by `new`, and none fails."""
    moved = libswap.move(new.path, library, *options)
    done = time.monotonic()
    assert moved.code == 0, moved
    load.more(30)
    assert load.begun_since(done).keys() == {new.mark}, f"{new}: {load}\n{moved}"
    assert not load.failures, load


def test_workers_move_to_another_version_and_back_while_they_answer(
    build: Builds, tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")
    library = put(old.path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    slow = {SLOW: content.pop(SLOW)}
    libswap = Libswap(state_dir)
    with (
        nginx(tmp_path, library.parent, workers=3) as server,
        Load(server.port, slow, clients=2) as streams,
        Load(server.port, content, clients=3, pause=UNHURRIED) as load,
    ):
        pids = server.pids
        load.more(60)
        moments = [time.monotonic()]
        for build_ in (new, old):
            move(libswap, load, build_, library)
            moments.append(time.monotonic())
        streams.more(2)
        assert server.pids == pids, "no process was lost or replaced"
    assert not complaints(tmp_path)
    for before, after in pairwise(moments):
        spanning = [a for a in streams.answers if a.begun < after and before < a.ended]
        assert spanning, "streams were under way when the library changed"
    assert not streams.failures, streams
    assert not load.failures, load


@pytest.mark.namespaces
def test_a_library_of_the_system_directory_is_replaced_inside_a_container(
    build: Builds, tmp_path: Path, state_dir: Path
) -> None:
    new = build("zlib 1.3.1 marked")
    library = (LIBRARIES / "libz.so.1").resolve()
    before = library.stat()
    content = pages(tmp_path / "pages")
    del content[SLOW]
    with overlay(tmp_path) as holder:
        # Of the machine's file there may be hard links.
        put(library, Path(f"/proc/{holder}/root{library}"))
        with (
            nginx(tmp_path, tmp_path, inside=holder) as server,
            Load(server.port, content, clients=3, pause=UNHURRIED) as load,
        ):
            load.more(60)
            # The namespace is the overlay's but the processes are the whole machine's: only ours.
            ours = [f"--pid={pid}" for pid in server.pids]
            move(Libswap(state_dir, inside=holder), load, new, library, *ours)
    assert not complaints(tmp_path)
    assert library.stat() == before, "the machine's own file"


def test_workers_that_a_reload_replaces_meanwhile_are_moved_too(
    build: Builds, tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")
    library = put(old.path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    del content[SLOW]
    libswap, over = Libswap(state_dir), threading.Event()
    with (
        nginx(tmp_path, library.parent) as server,
        Load(server.port, content, clients=2, per_connection=1, pause=UNHURRIED) as load,
    ):

        def reload() -> None:
            while not over.wait(0.5):
                server.process.send_signal(signal.SIGHUP)

        reloading = threading.Thread(target=reload)
        reloading.start()
        try:
            workers = {answer.worker for answer in load.more(100)}
            move(libswap, load, new, library)
            replaced = {answer.worker for answer in load.answers} - workers
        finally:
            over.set()
            reloading.join()
    assert len(replaced) > 2
    assert not complaints(tmp_path)
    assert not load.failures, load
