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
        return tuple(
            _section(compiler, Path(work, label.replace(" ", "")), size, label, rounds)
            for size, label, rounds in SIZES
        )


def _section(compiler: Compiler, root: Path, size: int, label: str, rounds: int) -> Section:
    root.mkdir()
    sources = []
    for version in (1, 2):
        source = Path(shutil.copy(library(compiler, version), root / f"new{version}.so"))
        with source.open("ab") as file:
            while file.tell() < size:
                file.write(os.urandom(min(1 << 20, size - file.tell())))
        sources.append(source)
    rows = side_by_side(_acts(root, sources), rounds=rounds)
    shutil.rmtree(root)
    return Section(
        f"A library of {label} replaced",
        "Two builds take turns. `cp` writes into the old inode, which kills who has it mapped;"
        " `install` removes the name first. libswap hashes the old and the new file, verifies the"
        " staged copy, keeps the old one, and syncs file, directory, journal and history.",
        rows,
    )


def _acts(root: Path, sources: list[Path]) -> dict[str, Callable[[], object]]:
    def turns(name: str) -> tuple[Path, Callable[[], Path]]:
        place = root / name
        place.mkdir()
        shutil.copy(sources[0], place / "libx.so")
        turn = itertools.cycle(reversed(sources))
        return place / "libx.so", lambda: next(turn)

    def external(name: str, *words: str, synced: bool) -> Callable[[], object]:
        real, source = turns(name)

        def act() -> None:
            program([*words, str(source()), str(real)])()
            if synced:
                program(["sync", str(real), str(real.parent)])()

        return act

    command, command_source = turns("command")
    inside, inside_source = turns("inside")
    settings = Settings(state_dir=root / "state", store_max_files=0)

    def whole() -> None:
        words = ["install", str(command_source()), str(command)]
        program([LIBSWAP, *words, "--yes", "--state-dir", str(root / "state-of-command")])()

    def in_process() -> None:
        request = install.Request(sources=(str(inside_source()),), destination=str(inside))
        install.carry_out(install.plan(request, settings), settings)

    return {
        "`install`": external("install", "install", synced=False),
        "`install`, `sync`": external("install-sync", "install", synced=True),
        "`cp`": external("cp", "cp", synced=False),
        "`cp`, `sync`": external("cp-sync", "cp", synced=True),
        "`libswap install`": whole,
        "libswap without the interpreter's start": in_process,
    }
