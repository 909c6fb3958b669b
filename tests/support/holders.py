"""Processes that hold libraries mapped for as long as a test looks at them."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libswap.process.identity import Identity
from libswap.scan.overwritten import GRANULARITY
from support.compiler import Compiler

COUNTER = """
static const char *const words[] = {"one", "two", "three"};
static int count = 40;
const char *word(int n) { return words[n % 3]; }
int answer(void) { return ++count; }
"""
"""A small library with relocated read-only data, as most have."""


@dataclass(frozen=True, slots=True)
class Held:
    """A process that said "ready"."""

    pid: int
    process: subprocess.Popen[str]


@contextmanager
def hold(
    program: Path | Sequence[str], *words: str | Path, user: int | None = None
) -> Iterator[Held]:
    """Run a program that says "ready" and then waits for the end of its input."""
    start = [str(program)] if isinstance(program, Path) else list(program)
    process = subprocess.Popen(
        [*start, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        user=user, group=user, extra_groups=None if user is None else [],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == "ready\n", said
        _let_the_clock_move_on(process.pid)
        yield Held(process.pid, process)
    finally:
        process.communicate()


def _let_the_clock_move_on(pid: int) -> None:
    """Until what is written to a file from now on bears a time that is surely after the start."""
    while time.time() < Identity.of(pid).started_at() + 2 * GRANULARITY:
        time.sleep(GRANULARITY / 4)


def holder(compiler: Compiler) -> Path:
    """The program that loads and maps what it is told to."""
    return compiler.program("scan/holder.c", "-ldl")
