"""Processes that hold libraries mapped for as long as a test looks at them."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
    program: Path | Sequence[str], *words: str | Path, environment: Mapping[str, str] | None = None
) -> Iterator[Held]:
    """Run a program that says "ready" and then waits for the end of its input."""
    start = [str(program)] if isinstance(program, Path) else list(program)
    process = subprocess.Popen(
        [*start, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said == "ready\n", said
        yield Held(process.pid, process)
    finally:
        process.communicate()


def holder(compiler: Compiler) -> Path:
    """The program that loads and maps what it is told to."""
    return compiler.program("scan/holder.c", "-ldl")
