"""Types and layouts compared by abidiff, where it and the debug information are there."""

import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from libswap.abi.finding import Finding
from libswap.abi.types import ARGUMENTS, FAILED, type_findings
from libswap.elf.debugfile import DIRECTORY, with_debug_info
from libswap.elf.image import Image
from libswap.elf.library import Library
from libswap.errors.base import ProgramFailed
from libswap.linux import command, confined
from libswap.linux.files import refusal
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
    bare = [
        library.name
        for library in (old, new)
        if not library.debug_info and _debug_info(library) is None
    ]
    if bare:
        return SymbolLevelOnly(f"no debug information for {' and '.join(bare)}"), ()
    try:
        with tempfile.TemporaryDirectory(prefix="libswap-") as room:
            paths = [_readable(library, Path(room)) for library in (old, new)]
            done = confined.run(
                ["abidiff", *ARGUMENTS, *_header_words(headers), *paths],
                timeout=timeout, limit=_MAX_REPORT,
            )  # fmt: skip
    except ProgramFailed as error:
        return SymbolLevelOnly(f"abidiff: {error.reason}"), ()
    except OSError as error:
        return SymbolLevelOnly(f"abidiff cannot read them: {error.strerror}"), ()
    if done.status < 0 or done.status & FAILED:
        return SymbolLevelOnly(f"abidiff: {done.complaint}"), ()
    return TypesCompared(), type_findings(done.text, done.status)


def _readable(library: Library, room: Path) -> str:
    """A path at which a program without rights finds a library, if need be that of a copy."""
    path = Path(posixpath.abspath(library.name))
    if confined.may_read(path):
        return str(path)
    room.chmod(0o711)
    place = Path(tempfile.mkdtemp(dir=room))
    place.chmod(0o711)
    debug = _debug_info(library)
    beside = debug is not None and not debug.name.startswith(f"{DIRECTORY}/")
    for file in {path, Path(debug.name)} if debug is not None and beside else {path}:
        copy = place / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o444)
    return str(place / path.name)


def _header_words(headers: str | None) -> Sequence[str]:
    if headers is None:
        return ()
    path = posixpath.abspath(headers)
    return ("--headers-dir1", path, "--headers-dir2", path)


def _debug_info(library: Library) -> Image | None:
    """The file that holds the debug information of a library, maybe the library itself."""
    path = posixpath.abspath(library.name)
    with Root.open("/") as root, refusal("read", path):
        return with_debug_info(Image.open(path), path, [root])
