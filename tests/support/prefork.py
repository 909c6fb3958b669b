"""A pool of children that serve a few requests each and end (fixtures/real/prefork.c)."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from support.compiler import Compiler
from support.servers import Server, started

_CHILDREN: Final = 6
_REQUESTS: Final = 50


def prefork(
    compiler: Compiler, work: Path, library: Path, content: Path
) -> AbstractContextManager[Server]:
    """The pool, linked with `library`, which answers every request with `content` in gzip."""
    linked = ("-O2", f"-L{library.parent}", f"-l:{library.name}")
    program = compiler.program("real/prefork.c", *linked)

    def command(port: int) -> list[object]:
        return [program, port, _CHILDREN, _REQUESTS, content]

    return started(command, work / "pool.log", library.parent)
