"""What clients of a server see of a live swap, and what a call costs afterwards."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from typing import Final

from support.builds import zlib_built, zlib_package
from support.command import Libswap
from support.compiler import Compiler, has
from support.debian import Debian, Unavailable, cache_dir
from support.http_load import Load
from support.nginx import SLOW, nginx, pages
from support.servers import put
from support.stopwatch import Parts, stopwatches
from tests.bench.section import Row, Section

ROUNDS: Final = 9
Act = Callable[[], object]


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory(prefix="libswap-bench-") as made:
        work = Path(made)
        parts = Parts.made_by(Compiler(work))
        return (*_clients(work), _left_behind(work, parts))


def _injection(pid: int, library: Path) -> Act:
    call = f'print ((void *(*)(const char *, int)) dlopen)("{library}", 2)'

    def act() -> None:
        words = ["gdb", "-q", "-nx", "-batch", "-p", str(pid), "-ex", call]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "$1 = (void *) 0x" in done.stdout, done.stdout + done.stderr

    return act


def _in_turn(acts: Mapping[str, Act], measure: Callable[[Act], float]) -> tuple[Row, ...]:
    """Each act once a round; the first round is for the caches."""
    figures: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(ROUNDS + 1):
        for name, act in acts.items():
            figure = measure(act)
            if turn:
                figures[name].append(figure)
    return tuple(Row(name, tuple(seconds)) for name, seconds in figures.items())


def _clients(work: Path) -> tuple[Section, ...]:
    """nginx under load; left out where it or its libraries cannot be had."""
    debian = Debian(cache_dir())
    try:
        builds = [zlib_built(debian, "trixie", 31), zlib_package(debian, "bookworm")]
    except Unavailable as reason:
        sys.stderr.write(f"clients of nginx: left out, {reason}\n")
        return ()
    library = put(builds[1].path, work / "nginx" / "libz.so.1")
    content = pages(work / "pages")
    del content[SLOW]
    libswap, turns = Libswap(work / "state"), cycle(builds)
    with nginx(work, library.parent, workers=2) as server:

        def swap() -> None:
            put(next(turns).path, library)
            moved = libswap("live", library, *(f"--pid={pid}" for pid in server.pids))
            assert moved.code == 0, moved

        def slowest(act: Act) -> float:
            with Load(server.port, content, clients=2) as load:
                load.more(50)
                load.slowest = 0.0
                act()
            assert not load.failures, load
            return load.slowest

        acts: dict[str, Act] = {
            "`libswap live`": swap,
            "`libswap live --dry-run`": lambda: libswap("live", library, "--dry-run"),
        }
        if has("gdb"):
            injections = [_injection(pid, Path(builds[0].path)) for pid in server.workers]
            acts["gdb: attach, call dlopen, detach, for each worker"] = lambda: [
                act() for act in injections
            ]
        rows = _in_turn(acts, slowest)
    about = (
        "nginx with two workers and gzip on, two clients that ask without pause and verify every"
        " byte: the slowest answer while the command runs. No request failed."
    )
    return (Section("What clients of nginx see", about, rows),)


def _left_behind(work: Path, parts: Parts) -> Section:
    library = put(parts.builds[0], work / "cost" / "libtick.so.1")
    libswap = Libswap(work / "state")
    figures: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        with stopwatches(1, parts, library.parent) as [target]:
            for moment in ("before", "after"):
                for way in ("slot", "pointer"):
                    figures.setdefault(f"through a {way}, {moment}", []).append(
                        target.tell(way) / 1e12
                    )
                if moment == "before":
                    put(parts.builds[1], library)
                    moved = libswap("live", library, f"--pid={target.pid}")
                    assert moved.code == 0, moved
            assert target.tell("build") == 2
        put(parts.builds[0], library)
    rows = tuple(Row(name, tuple(figures[name])) for name in sorted(figures, reverse=True))
    about = (
        "One call of a function that adds two numbers, in a loop of 2,000,000: through the slot"
        " of the program, which the swap rewrites, and through a pointer that was saved before,"
        " which reaches the new code by a jump at the old entry."
    )
    return Section("The cost of a call, before and after", about, rows)
