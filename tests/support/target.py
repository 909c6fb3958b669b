"""Processes that tests start and trace; they say "ready" on their standard output."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from libswap.elf.dynamic import read_dynamic
from libswap.elf.image import Image
from libswap.elf.symbols import dynamic_symbols
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.choice import borrow
from libswap.live.loader_locks import LoaderLocks
from libswap.live.remote import Borrowed
from libswap.live.stacks import Areas
from libswap.live.text_tail import roomiest
from libswap.live.thread import Thread, live_threads, maps_through
from libswap.process.identity import Identity
from libswap.process.maps import maps_of

RTLD_NOW = 2
MALLOC_FAMILY = ("malloc", "free", "calloc", "realloc", "memalign", "aligned_alloc",
                 "posix_memalign", "valloc", "pvalloc", "malloc_trim")  # fmt: skip


class Traced:
    """A process that tests may trace."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.identity = Identity.of(pid)

    def tids(self) -> list[int]:
        """Its threads, in ascending order."""
        return sorted(int(p.name) for p in Path(f"/proc/{self.pid}/task").iterdir())

    def function(self, name: str, library: bytes = b"/libc.so.6") -> int:
        """The address of an exported function."""
        base, path = self._module(library)
        return base + _exports(path)[name][0]

    def size(self, name: str, library: bytes) -> int:
        """How many bytes it has."""
        return _exports(self._module(library)[1])[name][1]

    def _module(self, library: bytes) -> tuple[int, str]:
        found = next(
            m for m in maps_through(self.pid) if m.name.endswith(library) and m.offset == 0
        )
        return found.start, found.name.decode()

    def loader_locks(self) -> LoaderLocks:
        """Where the dynamic linker keeps its locks."""
        library = b"/ld-linux-x86-64.so.2"
        start, size = self.function("_rtld_global", library), self.size("_rtld_global", library)
        unlock = self.function("pthread_mutex_unlock")
        return LoaderLocks(Range(start, start + size), unlock, tuple(self._loader()))

    def loader_and_malloc(self) -> Areas:
        """What a borrowed thread must be outside of."""
        base, path = self._module(b"/libc.so.6")
        exports = _exports(path)
        # malloc.c's static functions lie beside its exported ones
        starts = [exports[n][0] for n in MALLOC_FAMILY]
        malloc = Range(base + min(starts) - 0x4000, base + max(starts) + 0x1000)
        return Areas([*self._loader(), malloc])

    def _loader(self) -> list[Range]:
        return [
            Range(m.start, m.end)
            for m in maps_through(self.pid)
            if m.executable and m.name.rpartition(b"/")[2].startswith(b"ld-")
        ]


class Target(Traced):
    """A running fixture that has said "ready"."""

    def __init__(self, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            [str(w) for w in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"
        super().__init__(self.process.pid)

    def line(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@contextmanager
def running(*words: str | Path) -> Iterator[Target]:
    """A target that is killed in the end, if it has not ended by itself."""
    target = Target(*words)
    try:
        yield target
    finally:
        target.process.kill()
        target.process.communicate()


@contextmanager
def borrowed(
    target: Traced, seconds: float = 10.0, *, lift_seccomp: bool = False
) -> Iterator[Borrowed]:
    """A thread of the target that works for us."""
    with (
        ProcessMemory(live_threads(target.pid)[0]) as memory,
        borrow(
            target.identity,
            memory,
            avoid=target.loader_and_malloc(),
            deadline=time.monotonic() + seconds,
            errno_location=target.function("__errno_location"),
            loader_locks=target.loader_locks(),
            lift_seccomp=lift_seccomp,
        ) as thread,
    ):
        yield thread


@contextmanager
def borrowed_thread(target: Traced, tid: int) -> Iterator[Borrowed]:
    """This very thread, safe place or not."""
    with ProcessMemory(tid) as memory:
        thread = Thread(target.pid, tid)
        thread.seize()
        thread.stop(time.monotonic() + 5)
        tail = roomiest(maps_of(tid), memory, 320, target.pid)
        errno_location = target.function("__errno_location")
        with Borrowed(thread, memory, tail, errno_location=errno_location) as work:
            yield work


@cache
def _exports(path: str) -> dict[str, tuple[int, int]]:
    image = Image.open(path)
    dynamic = read_dynamic(image)
    assert dynamic is not None
    return {
        s.name: (s.value, s.size)
        for s in dynamic_symbols(image, dynamic)
        if s.defined and (s.default or not s.version)
    }
