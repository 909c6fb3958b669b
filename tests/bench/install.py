"""Replacing a library of 1 MB, 100 MB and 1 GB: libswap against coreutils, synced and not."""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from libswap.operations import install
from libswap.settings import Settings
from support.compiler import Compiler
from support.site import library
from tests.bench.section import Section, program, side_by_side

LIBSWAP = str(Path(sys.executable).with_name("libswap"))
SIZES = ((1 << 20, "1 MB", 15), (100 << 20, "100 MB", 7), (1 << 30, "1 GB", 3))


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as work:
        compiler = Compiler(Path(work))
        sections = []
        for size, label, rounds in SIZES:
            root = Path(work, label.replace(" ", ""))
            root.mkdir()
            sources = [_library(compiler, root, version, size) for version in (1, 2)]
            sections.append(_section(root, sources, label, rounds))
            shutil.rmtree(root)
        return tuple(sections)


def _library(compiler: Compiler, root: Path, version: int, size: int) -> Path:
    """A library with random bytes behind it."""
    path = Path(shutil.copy(library(compiler, version), root / f"new{version}.so"))
    with path.open("ab") as file:
        while file.tell() < size:
            file.write(os.urandom(min(1 << 20, size - file.tell())))
    return path


def _section(root: Path, sources: list[Path], label: str, rounds: int) -> Section:
    os.sync()
    synced = side_by_side(_synced(root, sources), rounds=rounds)
    # Apart from the others: what these leave unwritten, the next fsync of anybody would pay for.
    unsynced = side_by_side(_unsynced(root, sources), rounds=rounds)
    os.sync()
    return Section(
        f"A library of {label} replaced",
        "Two builds take turns. `cp` writes into the old inode, which kills who has it mapped;"
        " `install` removes the name first. libswap hashes the old and the new file, verifies the"
        " staged copy, keeps the old one, and syncs file, directory, journal and history.",
        (*synced, *unsynced),
    )


def _turns(root: Path, sources: list[Path], name: str) -> tuple[Path, Callable[[], Path]]:
    place = root / name
    place.mkdir()
    shutil.copy(sources[0], place / "libx.so")
    os.sync()
    turn = itertools.cycle(reversed(sources))
    return place / "libx.so", lambda: next(turn)


def _coreutils(root: Path, sources: list[Path], word: str, *, synced: bool) -> Callable[[], object]:
    real, source = _turns(root, sources, f"{word}-{synced}")

    def act() -> None:
        program([word, str(source()), str(real)])()
        if synced:
            program(["sync", str(real), str(real.parent)])()

    return act


def _unsynced(root: Path, sources: list[Path]) -> dict[str, Callable[[], object]]:
    words = ("install", "cp")
    return {
        f"`{word}`, not synced": _coreutils(root, sources, word, synced=False) for word in words
    }


def _synced(root: Path, sources: list[Path]) -> dict[str, Callable[[], object]]:
    command, command_source = _turns(root, sources, "command")
    inside, inside_source = _turns(root, sources, "inside")
    settings = Settings(state_dir=root / "state", store_max_files=0)

    def whole() -> None:
        words = ["install", str(command_source()), str(command)]
        program([LIBSWAP, *words, "--yes", "--state-dir", str(root / "state-of-command")])()

    def in_process() -> None:
        request = install.Request(sources=(str(inside_source()),), destination=str(inside))
        install.carry_out(install.plan(request, settings), settings)

    return {
        "`install`, `sync`": _coreutils(root, sources, "install", synced=True),
        "`cp`, `sync`": _coreutils(root, sources, "cp", synced=True),
        "`libswap install`": whole,
        "libswap without the interpreter's start": in_process,
    }
