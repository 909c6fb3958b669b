"""What becomes of objects that one version of a library made when another one gets them."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from libswap.live.module import LibraryCache
from libswap.live.outlook import Options
from libswap.live.survey import as_a_whole
from libswap.operations.moves import Moved, Planned, Refused
from libswap.operations.swap import Request, swap_library
from support.compiler import FIXTURES
from support.driven import Target

_CHECKED: Final = {
    "LD_PRELOAD": "libc_malloc_debug.so.0",
    "MALLOC_CHECK_": "3",
    "MALLOC_PERTURB_": "165",
}
"""A heap that notices writes past an object, and holds no zeros that nobody wrote."""
_SECONDS: Final = 20.0
_SOURCES: Final = FIXTURES / "survival"


class Truth(Enum):
    """What happened."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    UNUSABLE = "no case"
    """The driver does not work with one of the two alone, or no swap is possible at all."""


@dataclass(frozen=True, slots=True)
class Encounter:
    """One pair of versions.

    Attributes:
        truth: whether the objects of the old one survived.
        told: what the driver or its end said.
        stoppers: what a plan without --force refuses in this process, whatever the verdict.
    """

    truth: Truth
    told: str
    stoppers: tuple[str, ...] = ()


def encounter(name: str, old: Path, new: Path, work: Path) -> Encounter:
    """Make and use objects with `old`, move the process to `new`, use and destroy them there."""
    library = work / "lib" / soname(old)
    program = driver(name, old, library, work)
    for one in (old, new):
        install(one, library)
        told = _alone(program)
        if told != "done":
            return Encounter(Truth.UNUSABLE, f"{one.name} alone: {told}")
    install(old, library)
    with _running([program], **_CHECKED) as target:
        if target.line(seconds=_SECONDS) != "ready":
            return Encounter(Truth.UNUSABLE, "not ready")
        install(new, library)
        stoppers = _stoppers(target.pid, library)
        outcome = _moved(target.pid, old, library)
        if not isinstance(outcome, Moved):
            told = f"{outcome.error}: {outcome.reason}" if isinstance(outcome, Refused) else ""
            return Encounter(Truth.UNUSABLE, told or type(outcome).__name__)
        told = answer(target)
        return Encounter(Truth.SAFE if told == "done" else Truth.UNSAFE, told, stoppers)


def driver(name: str, old: Path, library: Path, work: Path) -> Path:
    """A program of fixtures/survival, linked to a library that is put in its place."""
    return _linked([str(_SOURCES / f"{name}.c")], work / name, old, library)


def load(name: str, old: Path, library: Path, work: Path) -> Path:
    """The same in two threads, which go through all of it again and again (load.c)."""
    parts = [str(_SOURCES / "load.c"), "-pthread"]
    for worker in ("worker_0", "worker_1"):
        parts.append(str(work / f"{name}-{worker}.o"))
        source = str(_SOURCES / f"{name}.c")
        _compiled("-c", f"-DWORKER={worker}", "-o", parts[-1], source)
    return _linked(parts, work / f"{name}-load", old, library)


def _linked(parts: list[str], program: Path, old: Path, library: Path) -> Path:
    library.parent.mkdir(parents=True, exist_ok=True)
    install(old, library)
    linked = [str(library), f"-Wl,-rpath,{library.parent}", "-Wl,--allow-shlib-undefined"]
    _compiled("-o", str(program), *parts, *linked)
    return program


def _compiled(*words: str) -> None:
    subprocess.run(["cc", "-O1", "-w", *words], check=True, capture_output=True)


def install(build: Path, library: Path) -> None:
    """Give the library's name to a build."""
    fresh = library.with_name("fresh")
    shutil.copy(build, fresh)
    fresh.rename(library)


def _alone(program: Path) -> str:
    """What the driver says at the end when nothing is exchanged."""
    with _running([program], **_CHECKED) as target:
        try:
            first = target.line(seconds=_SECONDS)
        except AssertionError as error:
            return str(error)
        return answer(target) if first == "ready" else first


def answer(target: Target) -> str:
    """What a driver says when it has gone on, or how it ended."""
    try:
        return target.ask(seconds=_SECONDS)
    except (AssertionError, OSError) as error:
        return " ".join(str(error).split())[:100]


def _stoppers(pid: int, library: Path) -> tuple[str, ...]:
    report = swap_library(Request(library, pids=(pid,), dry_run=True))
    planned = report.processes[0].outcome
    if not isinstance(planned, Planned):
        return ()
    return tuple(f.word for f in planned.outlook.stoppers(force=False))


def _moved(pid: int, old: Path, library: Path) -> object:
    cache = LibraryCache()
    whole = as_a_whole(cache.open(str(old)), cache.open(str(library)))
    options = Options(force=True, state="carry" if whole else "auto")
    report = swap_library(Request(library, pids=(pid,), options=options))
    return report.processes[0].outcome


@contextlib.contextmanager
def started(program: Path, *, checked: bool = True) -> Iterator[Target]:
    """A driver, on a heap that notices faults, or on an ordinary one."""
    with _running([program], **(_CHECKED if checked else {})) as target:
        yield target


@contextlib.contextmanager
def _running(command: list[Path], **environment: str) -> Iterator[Target]:
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    ) as process:  # fmt: skip
        try:
            yield Target(process)
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()


def soname(path: Path) -> str:
    """By which programs ask for a library."""
    return LibraryCache().open(str(path)).dynamic.soname or path.name
