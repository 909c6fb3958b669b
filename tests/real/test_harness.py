"""The instruments themselves: what they must notice, they notice; and why the project exists."""

import gzip
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.builds import UNIX, Build
from support.command import Libswap
from support.compiler import Compiler
from support.debian import Debian, Unavailable
from support.http_load import Load
from support.lighttpd import lighttpd
from support.memcache_load import MemcacheLoad, told_by
from support.memcached import memcached
from support.nginx import SLOW, nginx, pages
from support.overlay import LIBRARIES, overlay
from support.prefork import prefork
from support.servers import mapped, put

CONTENT = b"every byte of this counts\n" * 40
PACKED = gzip.compress(CONTENT, mtime=0)


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that gives each connection the next of `answers`, then ends it.

    An empty answer resets the connection.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            connection.recv(65536)
            if not answer:
                linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.sendall(answer)
            connection.close()
        listener.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(5)
    assert not thread.is_alive()


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """A response that says it is gzip."""
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (http(flipped(PACKED, len(PACKED) // 2)), "error"),
        (http(flipped(PACKED, len(PACKED) - 8)), "incorrect data check"),
        (http(gzip.compress(flipped(CONTENT, 3))), "other content"),
        (http(PACKED[:-30]), "does not end"),
        (http(PACKED + b"x"), "does not end"),
        (http(PACKED[:-30], length=len(PACKED)), "IncompleteRead"),
        (http(PACKED, status="502 Bad Gateway"), "status 502"),
        (http(CONTENT).replace(b"Content-Encoding", b"X-Encoding"), "without gzip"),
        (b"", "ConnectionResetError"),
        (b"HTTP/1.1 200 OK\r\n", "RemoteDisconnected|IncompleteRead|without gzip"),
    ],
)
def test_the_client_counts_each_wrong_answer_exactly_once(answer: bytes, failure: str) -> None:
    good = http(PACKED)
    with (
        answering(good, answer, good) as port,
        Load(port, {"/": CONTENT}, clients=1, requests=3) as load,
    ):
        load.finish()
    assert len(load.answers) == 2
    [said] = load.failures
    assert any(part in said for part in failure.split("|"))
    assert load.failures.total() == 1


def test_the_client_tells_which_build_of_zlib_answered() -> None:
    other = PACKED[:9] + bytes([31]) + PACKED[10:]
    with (
        answering(http(PACKED), http(other)) as port,
        Load(port, {"/": CONTENT}, clients=1, requests=2) as load,
    ):
        load.finish()
    assert [answer.mark for answer in load.answers] == [PACKED[9], 31]
    assert not load.failures


def test_the_memcached_client_notices_a_value_that_is_not_the_one_it_stored() -> None:
    wrong = b"STORED\r\nVALUE key-0-1 0 3\r\nxxx\r\nEND\r\n"
    with answering(wrong) as port, MemcacheLoad(port, clients=1, requests=1) as load:
        load.finish()
    assert "another value" in next(iter(load.failures))


@pytest.mark.real
@pytest.mark.root
def test_a_restart_with_another_zlib_changes_byte_9(
    build: Callable[[str], Build], tmp_path: Path
) -> None:
    library = tmp_path / "lib" / "libz.so.1"
    content = pages(tmp_path / "pages")
    del content[SLOW]
    for name in ("zlib 1.2.13 of Debian", "zlib 1.3.1 marked", "zlib 1.3.1 of Debian"):
        used = build(name)
        put(used.path, library)
        with nginx(tmp_path, library.parent) as server, Load(server.port, content) as load:
            load.more(50)
            inode = library.stat().st_ino
            assert all([i for _, i, _ in mapped(p, library.name)] == [inode] for p in server.pids)
        assert load.begun_since(0).keys() == {used.mark}, used
        assert not load.failures, load


@pytest.mark.real
@pytest.mark.root
def test_cp_over_a_library_in_use_breaks_the_server_and_an_install_does_not(
    build: Callable[[str], Build], tmp_path: Path, state_dir: Path
) -> None:
    old, new = build("zlib 1.2.13 of Debian"), build("zlib 1.3.1 marked")
    library = put(old.path, tmp_path / "lib" / "libz.so.1")
    content = pages(tmp_path / "pages")
    del content[SLOW]
    with nginx(tmp_path, library.parent) as server:
        workers = server.workers
        with Load(server.port, content) as load:
            installed = Libswap(state_dir)("install", new.path, library, "--yes")
            assert installed.code == 0, installed
            load.more(200)
        assert load.begun_since(0).keys() == {UNIX}, "running processes are as they were"
        assert not load.failures, load
        assert server.workers == workers
    put(old.path, library)
    with nginx(tmp_path, library.parent) as server:
        workers = server.workers
        with Load(server.port, content, patience=1) as load:
            load.more(100)
            shutil.copyfile(new.path, library)
            while not load.failures:
                assert load.answers[-1].begun + 60 > time.monotonic(), f"nothing broke: {load}"
                time.sleep(0.01)
        assert load.failures
        assert server.workers != workers, "workers were killed by a signal and replaced"


@pytest.mark.real
@pytest.mark.root
def test_memcached_tells_the_libevent_it_was_started_with(
    build: Callable[[str], Build], tmp_path: Path
) -> None:
    used = build("libevent 2.1.12 second")
    library = put(used.path, tmp_path / "lib" / "libevent-2.1.so.7")
    with memcached(tmp_path, library.parent) as server, MemcacheLoad(server.port) as load:
        load.more(200)
        assert told_by(server.port, "libevent") == used.mark
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) > 10
    assert not load.failures, load


@pytest.mark.real
@pytest.mark.root
@pytest.mark.namespaces
def test_a_library_replaced_in_the_overlay_is_used_there_and_nowhere_else(
    build: Callable[[str], Build], tmp_path: Path
) -> None:
    used = build("zlib 1.3.1 marked")
    library = (LIBRARIES / "libz.so.1").resolve()
    before = library.stat()
    content = pages(tmp_path / "pages")
    del content[SLOW]
    with overlay(tmp_path) as holder:
        inside = Path(f"/proc/{holder}/root{library}")
        shutil.copy(used.path, inside.with_name(".new"))
        inside.with_name(".new").rename(inside)
        with (
            nginx(tmp_path, tmp_path, inside=holder) as server,
            Load(server.port, content) as load,
        ):
            load.more(30)
        assert load.begun_since(0).keys() == {used.mark}
    assert library.stat() == before
    assert not load.failures, load


@pytest.mark.real
@pytest.mark.root
def test_lighttpd_itself_does_not_need_zlib_and_its_module_tells_which_answers(
    build: Callable[[str], Build], debian: Debian, tmp_path: Path
) -> None:
    used = build("zlib 1.3.1 marked")
    library = put(used.path, tmp_path / "lib" / "libz.so.1")
    content = {path: body for path, body in pages(tmp_path / "pages").items() if len(body) < 50_000}
    try:
        running = lighttpd(debian, tmp_path, library.parent)
    except Unavailable as reason:
        pytest.skip(str(reason))
    with running as server, Load(server.port, content) as load:
        load.more(30)
        program = Path(f"/proc/{server.process.pid}/exe").read_bytes()
        assert b"libz.so" not in program
        assert mapped(server.process.pid, library.name)
    assert load.begun_since(0).keys() == {used.mark}
    assert not load.failures, load


@pytest.mark.real
@pytest.mark.compiler
def test_the_pool_replaces_its_children_all_the_time(
    build: Callable[[str], Build], compiler: Compiler, tmp_path: Path
) -> None:
    used = build("zlib 1.3.1 marked")
    library = put(used.path, tmp_path / "lib" / "libz.so.1")
    content = tmp_path / "content"
    content.write_bytes(CONTENT)
    with (
        prefork(compiler, tmp_path, library, content) as server,
        Load(server.port, {"/": CONTENT}, per_connection=1) as load,
    ):
        load.more(900)
    assert load.begun_since(0).keys() == {used.mark}
    assert len({answer.worker for answer in load.answers}) > 15
    assert not load.failures, load
    assert not server.log.read_text()
