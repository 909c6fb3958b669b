"""A TLS server with connections that last, moved to a libssl that does not understand them."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from libswap.live.draining import table
from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.subject import Subject
from libswap.operations.draining import (
    DrainBegun,
    DrainOptions,
    Left,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.moves import Refused
from libswap.operations.revert import revert
from libswap.operations.settle import settle
from libswap.operations.status import status
from libswap.operations.swap import Request, swap_library
from libswap.process.identity import Identity
from support.builds import Build
from support.compiler import Compiler
from support.driven import Target
from support.redis import redis, renew
from support.swapping import Stage
from support.tls_load import TlsLoad, connected, exchange, set_and_get

pytestmark = [pytest.mark.real, pytest.mark.compiler, pytest.mark.ptrace]

OLD, NEW = "OpenSSL 3.0 of Debian 12", "OpenSSL 3.0 of Debian 12 with security updates"


@pytest.fixture
def place(compiler: Compiler, tmp_path: Path, build: Callable[[str], Build]) -> Stage:
    """libssl and libcrypto of the old build, side by side."""
    stage = Stage(compiler, tmp_path / "libssl.so.3")
    for file in (build(OLD).path, crypto(build(OLD).path)):
        Stage(compiler, tmp_path / file.name).install(file)
    return stage


def crypto(ssl: Path) -> Path:
    return ssl.with_name("libcrypto.so.3")


@contextmanager
def serving(stage: Stage, *, lost: bool = False) -> Iterator[tuple[Target, int]]:
    """The server, and its port; what it serves is right, unless it may be lost."""
    flags = ("-pthread", "-include", str(stage.header), str(crypto(stage.place)))
    start = stage.ending if lost else stage.running
    with start(stage.program("drain/tls.c", *flags)) as target:
        yield target, int(target.ask("port"))
        assert lost or target.ask("wrong") == "0"


def renewed(target: Target) -> None:
    """The server makes a new context for the connections that begin from now on."""
    target.process.send_signal(signal.SIGHUP)
    assert target.line() == "ready"


def ended(target: Target, which: str) -> None:
    """The server has noticed that the last connection with such objects has ended."""
    while target.ask(which) != "0":
        pass


def begin(stage: Stage, pid: int, build: Build) -> None:
    for file in (build.path, crypto(build.path)):
        Stage(stage.compiler, stage.place.with_name(file.name)).install(file)
    request = Request(stage.place, pids=(pid,), drain=DrainOptions())
    (result,) = swap_library(request).processes
    assert isinstance(result.outcome, DrainBegun), result.outcome


def left(pid: int) -> Left:
    (process,) = status([pid]).processes
    return process.drains[0]


def settled(stage: Stage, pid: int) -> object:
    (result,) = settle([stage.place], [pid], Options()).processes
    return result.outcome


@pytest.mark.scenario(
    "objects",
    ("TLS connections that last, under load, and a context that is renewed",),
    live="`--drain` of libssl: each with the code that made it, and nothing fails",
)
def test_connections_last_while_new_ones_get_the_new_code(
    place: Stage, build: Callable[[str], Build]
) -> None:
    with serving(place) as (target, port), TlsLoad(port, clients=2, brief=True) as brief:
        with TlsLoad(port) as lasting:
            lasting.more(5)
            begin(place, target.pid, build(NEW))
            lasting.more(5)
            brief.more(5)
            assert len([m for m in target.modules() if "libcrypto" in m.path]) == 1
            assert target.ask("new") == "0", "the context is the old copy's, and what it makes too"
            renewed(target)
            brief.more(5)
            lasting.more(5)
            assert (left(target.pid).seen, left(target.pid).found) == (4, 1), (
                "and the context they hold"
            )
            assert target.ask("old") == "4"
            with TlsLoad(port) as fresh:
                fresh.more(5)
                assert int(target.ask("new")) >= 4
            assert isinstance(settled(place, target.pid), StillDraining)
        ended(target, "old")
        outcome = settled(place, target.pid)
        assert isinstance(outcome, Settled), outcome
        brief.more(5)
        with TlsLoad(port) as fresh:
            fresh.more(5)
        assert not lasting.failures + brief.failures + fresh.failures


@pytest.mark.scenario(
    "objects",
    ("TLS connections that last, of Debian's Redis, and a certificate that is set anew",),
    live="`--drain` of libssl: each with the code that made it, and nothing fails",
)
def test_redis_goes_on_with_its_connections(
    place: Stage, build: Callable[[str], Build], tmp_path: Path
) -> None:
    talking = {"talk": set_and_get, "farewell": False}
    with (
        redis(tmp_path, place.place.parent) as server,
        TlsLoad(server.port, clients=2, brief=True, **talking) as brief,
    ):
        pid = server.process.pid
        with TlsLoad(server.port, **talking) as lasting:
            lasting.more(5)
            begin(place, pid, build(NEW))
            lasting.more(5)
            renew(tmp_path, server.port)
            brief.more(5)
            lasting.more(5)
            assert (left(pid).seen, left(pid).found) == (4, 1)
        outcome = settled(place, pid)
        assert isinstance(outcome, Settled), outcome
        with TlsLoad(server.port, **talking) as fresh:
            fresh.more(5)
            brief.more(5)
        assert not lasting.failures + brief.failures + fresh.failures
        assert server.process.poll() is None


def test_taken_for_new_ones_the_connections_are_lost(
    place: Stage, build: Callable[[str], Build]
) -> None:
    """Else the tests above would prove nothing."""
    with suppress(BrokenPipeError), serving(place, lost=True) as (target, port):
        with connected(port) as connection:
            exchange(connection, 1)
            begin(place, target.pid, build(NEW))
            with Subject.open(Identity.of(target.pid), LibraryCache()) as subject:
                (drain,) = subject.record.drains
                subject.memory.write(drain.table + table.SETTLED, b"\1\0\0\0")
            with suppress(OSError, ValueError):
                exchange(connection, 2)
                connection.unwrap()
        with pytest.raises((AssertionError, BrokenPipeError)):
            ended(target, "old")


def test_it_is_taken_back_when_the_new_connections_have_ended(
    place: Stage, build: Callable[[str], Build]
) -> None:
    with serving(place) as (target, port), TlsLoad(port) as lasting:
        begin(place, target.pid, build(NEW))
        refused = (
            swap_library(Request(crypto(place.place), pids=(target.pid,), drain=DrainOptions()))
            .processes[0]
            .outcome
        )
        assert isinstance(refused, Refused)
        assert "drain libssl.so.3 alone" in refused.reason
        renewed(target)
        with TlsLoad(port) as fresh:
            fresh.more(5)
            (result,) = revert([target.pid], "", Options()).processes
            assert isinstance(result.outcome, StillDraining)
            assert result.outcome.left.new == 5, "four connections and a context"
            renewed(target)
            fresh.more(5)
            assert (left(target.pid).back, left(target.pid).new) == (True, 5)
        ended(target, "new")
        outcome = settled(place, target.pid)
        assert isinstance(outcome, TakenBack), outcome
        lasting.more(5)
        with TlsLoad(port) as fresh_on_old:
            fresh_on_old.more(5)
        assert not lasting.failures + fresh.failures + fresh_on_old.failures
