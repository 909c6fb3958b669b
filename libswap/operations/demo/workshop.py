"""Builds the programs and the two libraries of the demo."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from libswap.errors.base import MissingTool, ProgramFailed
from libswap.linux.command import find, run

_PACKAGE: Final = Path(__file__).parents[2]
_BUILD_SECONDS: Final = 300.0  # the ziglang wheel builds parts of its C library the first time


@dataclass(frozen=True, slots=True)
class Workshop:
    """What was built, in a directory of its own.

    Attributes:
        compiler: the words that compile.
        old: the library, version 1.
        new: the library, version 2, of the same size and layout.
        loader: loads and closes a library as it is told.
        service: is linked against the library beside it.
    """

    compiler: tuple[str, ...]
    old: Path
    new: Path
    loader: Path
    service: Path

    @classmethod
    def build(cls, directory: Path) -> Self:
        """Compile everything below `directory`.

        Raises:
            MissingTool: neither cc nor the ziglang wheel is there.
            ProgramFailed: the compiler did not do its work.
        """
        compiler, sources = _compiler(), _sources()
        made = cls(
            compiler=compiler,
            old=directory / "old" / "libdemo.so.1",
            new=directory / "new" / "libdemo.so.1",
            loader=directory / "loader",
            service=directory / "service",
        )
        shared = ("-shared", "-fPIC", "-Wl,-soname,libdemo.so.1", str(sources / "library.c"))
        for version, file in enumerate((made.old, made.new), start=1):
            file.parent.mkdir()
            _compile(compiler, directory, (f"-DVERSION={version}", *shared, "-o", str(file)))
        linked = (str(made.old), "-Wl,-rpath,$ORIGIN")
        for file, words in ((made.loader, ("-ldl",)), (made.service, linked)):
            source = str(sources / f"{file.name}.c")
            _compile(compiler, directory, (source, "-o", str(file), *words))
        return made


def _sources() -> Path:
    """Package data in a wheel (force-include in pyproject.toml), fixtures/demo in a checkout."""
    shipped = _PACKAGE / "fixtures" / "demo"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "fixtures" / "demo"


def _compiler() -> tuple[str, ...]:
    if path := find("cc"):
        return (path,)
    if find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc")
    raise MissingTool(
        tool="a C compiler",
        purpose="build the programs of the demo",
        install="apt-get install gcc libc6-dev, or: pip install 'libswap[demo]'",
    )


def _compile(compiler: tuple[str, ...], directory: Path, words: Sequence[str]) -> None:
    cache = str(directory / "cache")
    done = run(
        (*compiler, "-O1", "-g", "-Wl,--build-id=sha1", *words),
        timeout=_BUILD_SECONDS,
        environment={"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
        directory=str(directory),
    )
    if done.status != 0:
        raise ProgramFailed(compiler[0], done.complaint)
