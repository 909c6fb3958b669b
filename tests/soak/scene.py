"""The servers of a soak, their load, and what is done to them."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.builds import Build, libevent_built, zlib_built, zlib_package
from support.clients import UNHURRIED
from support.command import Libswap
from support.compiler import Compiler
from support.debian import Debian, cache_dir
from support.http_load import Load
from support.memcache_load import MemcacheLoad
from support.memcached import memcached
from support.nginx import SLOW, complaints, nginx, pages
from support.servers import Server, put
from tests.soak.deeds import Deed, Looks, LoopSwaps, Patches, Swaps
from tests.soak.deployments import Deployments
from tests.soak.figures import Figures
from tests.soak.operator import Operator
from tests.soak.quotes import Quotes, patches, quoter

NAMES: Final = ("nginx", "nginx under the watcher", "memcached", "the patched server")
_REMEMBERED: Final = 5000
_LATER: Final = 3600.0
"""Seconds after which clients stop by themselves, should nobody tell them."""
_PATIENCE: Final = 60.0
_FILES: Final = 400
_BYTES: Final = 64 << 20
_HISTORY: Final = 8192
"""How many files and bytes a state directory may hold, and bytes of history for each install."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs.

    Attributes:
        root: everything lies below it.
        servers: by name.
        loads: by the name of the server; each counts its answers and failures.
        deeds: what is done to them.
        figures: what has been counted.
    """

    root: Path
    servers: dict[str, Server]
    loads: "dict[str, Load | MemcacheLoad | Quotes]"
    deeds: tuple[Deed, ...]
    figures: Figures

    def requests(self) -> dict[str, int]:
        """Right answers by server."""
        return {
            name: load.total if isinstance(load, Load) else load.answered
            for name, load in self.loads.items()
        }

    def inspect(self) -> None:
        """Insist on what must be so at any time."""
        for name, server in self.servers.items():
            assert server.process.poll() is None, f"{name} has ended: {server.log.read_text()}"
            assert not self.loads[name].failures, f"{name}: {self.loads[name]}"
            self.figures.weigh(name, server.pids)
        self._hear()

    def _hear(self) -> None:
        """Each command that is killed may let one EINTR through; nothing else is to be said."""
        said = [line for work in self.root.glob("nginx*") for line in complaints(work)]
        other = [line for line in said if "epoll_wait() failed (4: Interrupted" not in line]
        assert not other, other[:10]
        counts = self.figures.counts
        killed = sum(number for what, number in counts.items() if "killed by SIGKILL" in what)
        assert len(said) <= killed, said[:10]
        if said:
            counts["EINTRs that killed commands let through"] = len(said)

    def conclude(self, pids: dict[str, list[int]]) -> None:
        """Insist on what must be so in the end."""
        self.inspect()
        assert {name: server.pids for name, server in self.servers.items()} == pids
        assert not self.figures.grown()
        self._state_is_bounded()

    def _state_is_bounded(self) -> None:
        files = [p for p in (self.root / "state").rglob("*") if p.is_file()]
        history = sum(p.stat().st_size for p in files if p.name == "history")
        rest = sum(p.stat().st_size for p in files if p.name != "history")
        counts = self.figures.counts
        installs = counts["`libswap install`"] + counts["deployments by the watcher"]
        installs += counts["commands killed by SIGKILL"] + 10
        assert len(files) <= _FILES, len(files)
        assert rest <= _BYTES, rest
        assert history <= installs * _HISTORY, (history, installs)


@contextmanager
def scene(root: Path, seconds: float, seed: int) -> Iterator[Scene]:
    """Everything started and under load; ended with the block.

    Raises:
        Unavailable: a library cannot be had here.
    """
    debian, compiler, figures = Debian(cache_dir()), Compiler(root), Figures(seconds)
    zlibs = [zlib_package(debian, "bookworm"), zlib_built(debian, "trixie", 31),
             zlib_built(debian, "bookworm", 19)]  # fmt: skip
    events = [libevent_built(debian, "bookworm", name) for name in ("first", "second")]
    chance = random.Random(seed)
    with ExitStack() as stack:

        def operator() -> Operator:
            return Operator(
                Libswap(root / "state", patience=300.0), figures, random.Random(chance.random())
            )

        swapped = _nginx(stack, root / "nginx", zlibs[0], seconds)
        watched = _nginx(stack, root / "nginx-watched", zlibs[0], seconds)
        looped = _memcached(stack, root / "memcached", events[0], seconds)
        quoting = stack.enter_context(quoter(compiler, root))
        quotes = stack.enter_context(Quotes(quoting.port, clients=2, pause=UNHURRIED))
        libraries = [root / name / "lib" / "libz.so.1" for name in ("nginx", "nginx-watched")]
        libraries.append(root / "memcached" / "lib" / "libevent-2.1.so.7")
        deployments = Deployments(operator(), *watched, root / "nginx-watched", zlibs)
        stack.callback(deployments.kill_watcher)
        deeds = (
            Swaps(operator(), *swapped, libraries[0], zlibs),
            deployments,
            LoopSwaps(operator(), *looped, libraries[2], events),
            Patches(operator(), quoting, quotes, patches(compiler, root)),
            Looks(operator(), [swapped[0].process.pid, quoting.process.pid], libraries),
        )
        servers = (swapped[0], watched[0], looped[0], quoting)
        loads = (swapped[1], watched[1], looped[1], quotes)
        yield Scene(
            root, dict(zip(NAMES, servers, strict=True)), dict(zip(NAMES, loads, strict=True)),
            deeds, figures,
        )  # fmt: skip


def _nginx(stack: ExitStack, work: Path, build: Build, seconds: float) -> tuple[Server, Load]:
    put(build.path, work / "lib" / "libz.so.1")
    content = pages(work / "pages")
    del content[SLOW]
    server = stack.enter_context(nginx(work, work / "lib"))
    load = Load(
        server.port, content, clients=2, bound=seconds + _LATER, patience=_PATIENCE,
        keep=_REMEMBERED, pause=UNHURRIED,
    )  # fmt: skip
    return server, stack.enter_context(load)


def _memcached(
    stack: ExitStack, work: Path, build: Build, seconds: float
) -> tuple[Server, MemcacheLoad]:
    put(build.path, work / "lib" / "libevent-2.1.so.7")
    server = stack.enter_context(memcached(work, work / "lib"))
    load = MemcacheLoad(
        server.port, clients=2, bound=seconds + _LATER, requests=1 << 60, pause=UNHURRIED
    )
    return server, stack.enter_context(load)


def run(stage: Scene, told: Callable[[str], object]) -> None:
    """Do everything at the same time until the time is up or something is not as it must be.

    Args:
        stage: the servers.
        told: gets a line once a minute.
    """
    pids = {name: server.pids for name, server in stage.servers.items()}
    over, failures = threading.Event(), list[BaseException]()

    def again_and_again(deed: Deed) -> None:
        try:
            while not over.is_set():
                begun = time.monotonic()
                deed.turn()
                over.wait(deed.every - (time.monotonic() - begun))
            deed.end()
        except BaseException as failure:  # noqa: BLE001  raised below, where it is seen
            failures.append(failure)
            over.set()

    threads = [threading.Thread(target=again_and_again, args=(d,)) for d in stage.deeds]
    for thread in threads:
        thread.start()
    try:
        minute = 0
        while not over.wait(1.0) and stage.figures.elapsed < stage.figures.seconds:
            stage.inspect()
            if stage.figures.elapsed > 60 * (minute + 1):
                minute += 1
                told(f"{minute} min: {dict(stage.figures.counts)} {stage.requests()}")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for failure in failures:
        raise failure
    stage.conclude(pids)
