"""Look: may a library stand in for another, and who uses which."""

import os
from collections.abc import Sequence
from typing import TypeAlias

from libswap.operations import check as checking
from libswap.operations import scan as scanning
from libswap.operations.check import Check
from libswap.scan.scanner import Scan
from libswap.scan.usage import Usage
from libswap.settings import Settings

AnyPath: TypeAlias = str | os.PathLike[str]


def check(
    old: AnyPath,
    new: AnyPath,
    *,
    headers: AnyPath | None = None,
    together: Sequence[AnyPath] = (),
    settings: Settings | None = None,
) -> Check:
    """Whether one library can stand in for another on this machine: `result.verdict`.

    Args:
        old: the library that is there; who has it loaded is found by it.
        new: what would take its place.
        headers: the directory of the public headers; types declared elsewhere are left out.
        together: other new libraries that will be installed in the same moment.
        settings: how long abidiff may take.

    Raises:
        LibswapError: a file is no shared library (InvalidElf) or cannot be read (SystemRefused).
    """
    return checking.check(
        os.fspath(old),
        os.fspath(new),
        settings or Settings(),
        headers=None if headers is None else os.fspath(headers),
        together=[os.fspath(path) for path in together],
    )


def scan_machine(*, settings: Settings | None = None) -> Scan:
    """Every process that runs a library which was deleted, replaced or overwritten, by service.

    Args:
        settings: where the history lies, which tells of replacements too.
    """
    return scanning.scan_machine(settings or Settings())


def scan_files(libraries: Sequence[AnyPath], *, settings: Settings | None = None) -> Usage:
    """Every process that maps one of these files, current or not.

    Args:
        libraries: paths, or bare names such as libz.so.1 for whatever file of that name is mapped.
        settings: where the history lies.

    Raises:
        LibswapError: a path is a directory (UsageError); a name is no file, and nothing that is
            mapped had it (NobodyMaps).
    """
    return scanning.scan_files([os.fspath(path) for path in libraries], settings or Settings())
