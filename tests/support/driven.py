"""Processes that a test starts, which answer on a pipe: no test has to sleep."""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libswap.elf.link_map import Loader, parse_auxv, read_loader
from libswap.linux.memory import ProcessMemory
from libswap.linux.procfs import PROC
from libswap.live.module import LibraryCache, Module, modules
from libswap.process.maps import maps_of


@dataclass(frozen=True, slots=True)
class Target:
    """A program under test: lines in, lines out."""

    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, question: str = "", *, seconds: float = 60) -> str:
        """Send a line and wait for the line that answers it."""
        assert self.process.stdin is not None
        self.process.stdin.write(question.encode() + b"\n")
        self.process.stdin.flush()
        return self.line(seconds=seconds)

    def line(self, *, seconds: float = 60) -> str:
        """The next line that the program prints."""
        stream = self.process.stdout
        assert stream is not None
        collected = b""
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        while not collected.endswith(b"\n"):
            assert poll.poll(seconds * 1000), (
                f"the target said nothing for {seconds} s (so far {collected!r})"
            )
            more = os.read(stream.fileno(), 1)
            assert more, f"the target ended: {self.process.wait()} after {collected!r}"
            collected += more
        return collected.decode().strip()

    def ended(self, *, seconds: float = 60) -> tuple[int, str]:
        """How it ended, and what it said at last."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        return self.process.wait(seconds), rest.decode()

    def modules(self) -> tuple[Module, ...]:
        """Its loaded modules."""
        links = self.loader().maps
        return modules(links, maps_of(self.pid), LibraryCache().opener(self.pid))

    def loader(self) -> Loader:
        with ProcessMemory(self.pid) as memory:
            return read_loader(memory, parse_auxv(PROC.read(self.pid, "auxv")))

    def module(self, name: str) -> Module:
        """The first module whose path ends in `name`."""
        return next(m for m in self.modules() if m.path.endswith(name))


@contextmanager
def running(
    command: Sequence[str | Path], *, ready: str = "ready", ends: bool = False, **environment: str
) -> Iterator[Target]:
    """A program that has said "ready"; killed at the end, and it must still have been alive.

    Args:
        command: the program and its words.
        ready: what it says.
        ends: it may have ended by itself.
        environment: on top of ours.
    """
    with subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
    ) as process:
        target = Target(process)
        try:
            assert target.line() == ready
            yield target
            assert ends or process.poll() is None, f"the target died: {process.returncode}"
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
