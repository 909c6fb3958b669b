"""What is done to the servers: each class is one person who does one thing again and again."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from support.builds import Build
from support.http_load import Load
from support.memcache_load import MemcacheLoad, told_by
from support.servers import Server, put
from tests.soak.operator import Operator
from tests.soak.quotes import Quotes


class Deed(Protocol):
    """One thing that is done again and again.

    Attributes:
        every: seconds from one beginning to the next, if it does not take longer.
    """

    every: float

    def turn(self) -> None:
        """Do it once."""

    def end(self) -> None:
        """Leave everything in order."""


@dataclass(slots=True)
class Swaps:
    """Moves a web server among builds of one library, and sometimes back."""

    operator: Operator
    server: Server
    load: Load
    library: Path
    builds: list[Build]
    every: float = 1.0
    _running: Build = field(init=False)
    _back: Build | None = None

    def __post_init__(self) -> None:
        self._running = self._installed()

    def turn(self) -> None:
        if self._back is not None and self.operator.chance.random() < 0.2:
            self._revert(self._back)
        else:
            self._swap()

    def _swap(self) -> None:
        chance, before = self.operator.chance, self._installed()
        new = chance.choice([b for b in self.builds if b is not before])
        if chance.random() < 0.3:
            self.operator.risk("install", new.path, self.library, "--yes", "--force")
        else:
            put(new.path, self.library)
        unload = ("--unload",) if chance.random() < 0.2 else ()
        moved = self.operator.risk("live", self.library, "--wait=30", *unload)
        now = self._follow() if moved is None else self._only(self._installed())
        can_go_back = moved is not None and not unload and now is not self._running
        self._back = self._running if can_go_back else None
        self._running = now
        self.operator.figures.count("live swaps of nginx under zlib")

    def end(self) -> None:
        self._follow()

    def _follow(self) -> Build:
        """All processes run what is installed."""
        self.operator.must("live", self.library, "--wait=30")
        return self._only(self._installed())

    def _revert(self, before: Build) -> None:
        self._back = None
        if self.operator.risk("revert", *self.server.pids) is None:
            self._running = self._follow()
        else:
            self._running = self._only(before)
            self.operator.figures.count("reverts of nginx")

    def _installed(self) -> Build:
        data = self.library.read_bytes()
        (found,) = (b for b in self.builds if b.path.read_bytes() == data)
        return found

    def _only(self, build: Build) -> Build:
        """From now on no other build answers."""
        moment = time.monotonic()
        self.load.more(5)
        assert self.load.begun_since(moment).keys() == {build.mark}, f"{build}: {self.load}"
        assert not self.load.failures, self.load
        return build


@dataclass(slots=True)
class LoopSwaps:
    """Moves memcached, whose threads never leave libevent's loop."""

    operator: Operator
    server: Server
    load: MemcacheLoad
    library: Path
    builds: list[Build]
    every: float = 3.0
    _turn: int = 0

    def turn(self) -> None:
        self._turn += 1
        put(self.builds[self._turn % 2].path, self.library)
        # Not known is only whether filters of bufferevents survive, and memcached has none.
        words = ("live", self.library, "--relaxed", "--wait=30", "--accept-unknown")
        if self.operator.risk(*words) is None:
            self.operator.must(*words)
        self.end()
        self.operator.figures.count("live swaps of memcached under libevent")

    def end(self) -> None:
        assert told_by(self.server.port, "libevent") == self.builds[self._turn % 2].mark
        self.load.more(20)
        assert not self.load.failures, self.load


@dataclass(slots=True)
class Patches:
    """Replaces two functions of a running program, replaces the replacements, takes them back."""

    operator: Operator
    server: Server
    load: Quotes
    patches: dict[str, Path]
    every: float = 1.0
    _now: str = ""

    def turn(self) -> None:
        names = [name for name in ("", *self.patches) if name != self._now]
        self._become(self.operator.chance.choice(names))

    def end(self) -> None:
        if self._now:
            self._become("")
        self.operator.must("patch", "verify", self.server.process.pid)

    def _become(self, wanted: str) -> None:
        pid = self.server.process.pid
        if wanted:
            words = ("patch", "apply", self.patches[wanted], f"--pid={pid}", "--replace")
        else:
            words = ("patch", "revert", pid)
        if self.operator.risk(*words, "--wait=30") is None:
            self.operator.must("status", "--settle", pid)
            wanted = self._told()
        moment = time.monotonic()
        self.load.more(10)
        assert self.load.since(moment) == {wanted}, f"{wanted}: {self.load}"
        assert not self.load.failures, self.load
        self._now = wanted
        self.operator.figures.count("patches applied" if wanted else "patches taken back")

    def _told(self) -> str:
        """Which patch is in force."""
        moment = time.monotonic()
        self.load.more(10)
        (name,) = self.load.since(moment)
        return name


@dataclass(slots=True)
class Looks:
    """Looks at everything from outside all the time, and cleans up."""

    operator: Operator
    pids: list[int]
    libraries: list[Path]
    every: float = 2.0
    _turn: int = 0

    def turn(self) -> None:
        self._turn += 1
        words: list[tuple[object, ...]] = [
            ("status", *self.pids),
            ("scan", *self.libraries),
            ("history",),
            ("recover",),
            ("prune", "--yes"),
            ("patch", "list"),
            ("watch", "status"),
        ]
        self.operator.must(*words[self._turn % len(words)])

    def end(self) -> None:
        self.turn()
