"""What a soak counts, how much its targets grew, and the chapter that is made of it."""

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from support.footprint import Footprint

SLACK: Final = Footprint(mappings=16, descriptors=4, threads=0, resident=8192, reserved=16384)
"""What the second half may take beyond the most of the first; copies that are loaded and unloaded
again, and memory that malloc keeps, come and go."""
LONG: Final = 240.0
"""Seconds. In less, servers still fill their caches and have not yet met every build."""
WARM: Final = 0.1
"""The part of the time in which nothing is measured: servers fill their caches."""


@dataclass(slots=True)
class Figures:
    """Of one run.

    Attributes:
        seconds: how long it is to last.
        counts: what was done, how often.
        first: server → the most that one of its processes took in the first half.
        second: likewise in the second half.
    """

    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, Footprint] = field(default_factory=dict)
    second: dict[str, Footprint] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    def count(self, what: str) -> None:
        """One more of these."""
        with self._lock:
            self.counts[what] += 1

    def weigh(self, server: str, pids: Iterable[int]) -> None:
        """Note what the processes of a server take now."""
        now = self.elapsed / self.seconds
        if now >= WARM:
            half = self.first if now < (1 + WARM) / 2 else self.second
            with self._lock:
                for pid in pids:
                    half[server] = _most(half.get(server), Footprint.of(pid))

    def grown(self) -> dict[str, str]:
        """The servers that took more in the second half than is allowed, and what."""
        found = {}
        for server, now in self.second.items() if self.seconds >= LONG else ():
            before = self.first[server]
            for one in fields(Footprint):
                late, early = getattr(now, one.name), getattr(before, one.name)
                if late > early + getattr(SLACK, one.name):
                    found[server] = f"{one.name} {early} → {late}"
        return found


def _most(one: Footprint | None, other: Footprint) -> Footprint:
    if one is None:
        return other
    names = [f.name for f in fields(Footprint)]
    return Footprint(**{name: max(getattr(one, name), getattr(other, name)) for name in names})


ABOUT: Final = """\
Servers under verified load, and all of this done to them at the same time by commands that share
one state directory. No request failed, no byte was wrong, no process of a server ended, and nothing
was left unfinished; else there would be no chapter.

| what | how often |
|---|--:|
"""
GROWTH: Final = """
The most that one process of each server took in the first half → in the second:

| server | mappings | descriptors | threads | resident KiB | address space KiB |
|---|--:|--:|--:|--:|--:|
"""


def chapter(figures: Figures, machine: str, date: dt.date, requests: dict[str, int]) -> str:
    """The run as Markdown."""
    minutes = f"{figures.seconds / 60:g}"
    done = [*sorted(figures.counts.items())]
    done += [(f"right answers of {name}", number) for name, number in requests.items()]
    grown = []
    for server, now in figures.second.items():
        before = figures.first[server]
        cells = (f"{getattr(before, f.name):,} → {getattr(now, f.name):,}" for f in fields(now))
        grown.append(f"| {server} | {' | '.join(cells)} |\n")
    return (
        f"## soak\n\n`python -m tests.soak --minutes {minutes}` on {machine}, {date}.\n\n"
        + ABOUT
        + "".join(f"| {what} | {number:,} |\n" for what, number in done)
        + GROWTH
        + "".join(grown)
        + "\n"
    )
