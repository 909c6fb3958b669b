"""Types and layouts compared by abidiff, where it and the debug information are there."""

import posixpath
from collections.abc import Sequence
from typing import Final

from libswap.abi.finding import Finding
from libswap.abi.types import ARGUMENTS, FAILED, type_findings
from libswap.elf.debugfile import with_debug_info
from libswap.elf.image import Image
from libswap.elf.library import Library
from libswap.errors.base import ProgramFailed
from libswap.linux import command
from libswap.linux.rooted import Root
from libswap.operations.check.result import SymbolLevelOnly, Types, TypesCompared

_MAX_REPORT: Final = 1 << 24


def compare_types(
    old: Library, new: Library, *, headers: str | None, timeout: float
) -> tuple[Types, tuple[Finding, ...]]:
    """What abidiff finds, or why it was not asked.

    Args:
        old: named by its path.
        new: likewise.
        headers: the directory of the public headers; types declared elsewhere are left out.
        timeout: seconds that abidiff may take.
    """
    if command.find("abidiff") is None:
        return SymbolLevelOnly("abidiff is not installed (Debian: abigail-tools)"), ()
    bare = [library.name for library in (old, new) if not _has_debug_info(library)]
    if bare:
        return SymbolLevelOnly(f"no debug information for {' and '.join(bare)}"), ()
    paths = [posixpath.abspath(library.name) for library in (old, new)]
    try:
        done = command.run(
            ["abidiff", *ARGUMENTS, *_header_words(headers), *paths],
            timeout=timeout, limit=_MAX_REPORT,
        )  # fmt: skip
    except ProgramFailed as error:
        return SymbolLevelOnly(f"abidiff: {error.reason}"), ()
    if done.status < 0 or done.status & FAILED:
        return SymbolLevelOnly(f"abidiff: {done.complaint}"), ()
    return TypesCompared(), type_findings(done.text, done.status)


def _header_words(headers: str | None) -> Sequence[str]:
    if headers is None:
        return ()
    path = posixpath.abspath(headers)
    return ("--headers-dir1", path, "--headers-dir2", path)


def _has_debug_info(library: Library) -> bool:
    if library.debug_info:
        return True
    path = posixpath.abspath(library.name)
    with Root.open("/") as root:
        return with_debug_info(Image.open(path), path, [root]) is not None
