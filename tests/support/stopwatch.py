"""The fixture that measures what is done to it: threads, frames and modules as many as asked."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.compiler import Compiler


@dataclass(frozen=True, slots=True)
class Parts:
    """What is compiled once and run many times.

    Attributes:
        program: fixtures/real/stopwatch.c.
        builds: fixtures/real/tick.c, built to answer 1 and 2.
        module: fixtures/real/tick_module.c.
    """

    program: Path
    builds: tuple[Path, Path]
    module: Path

    @classmethod
    def made_by(cls, compiler: Compiler) -> Self:
        """Compile them."""
        first, second = (
            compiler.library(
                "real/tick.c", "-O2", f"-DBUILD={n}", name="libtick.so.1", soname="libtick.so.1"
            )
            for n in (1, 2)
        )
        linked = (f"-L{first.parent}", "-l:libtick.so.1")
        return cls(
            compiler.program("real/stopwatch.c", "-O2", "-pthread", *linked),
            (first, second),
            compiler.library("real/tick_module.c", "-O2", *linked),
        )


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """A running one."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def order(self, command: str) -> None:
        """Give it a command that has no answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def tell(self, command: str) -> int:
        """The number that it answers a command with (see fixtures/real/stopwatch.c)."""
        self.order(command)
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        assert answer, f"the target ended with {self.process.wait(5)}"
        return int(answer)


@contextmanager
def stopwatches(
    count: int,
    parts: Parts,
    libraries: Path,
    *,
    threads: int = 1,
    frames: int = 0,
    modules: Sequence[Path] = (),
) -> Iterator[list[Stopwatch]]:
    """`count` of them, ready; ended with the block."""
    words = [str(parts.program), str(threads), str(frames), *map(str, modules)]
    running = [_start(words, libraries) for _ in range(count)]
    try:
        for watch in running:
            assert watch.process.stdout is not None
            assert watch.process.stdout.readline() == "ready\n", watch.process.poll()
        yield running
    finally:
        for watch in running:
            watch.process.kill()
        for watch in running:
            watch.process.communicate()


def _start(words: Sequence[str], libraries: Path) -> Stopwatch:
    return Stopwatch(
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"LD_LIBRARY_PATH": str(libraries)},
        )
    )
