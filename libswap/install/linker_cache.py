"""The dynamic linker's cache: which directories it covers, and when ldconfig(8) must run."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from libswap.errors.base import ProgramFailed
from libswap.install.content import File, Nothing
from libswap.install.transaction import Change
from libswap.linux import command

CONFIGURATION: Final = "/etc/ld.so.conf"
TRUSTED: Final = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
"""ldconfig(8) looks there whatever it is configured to."""

_MAX_INCLUDES: Final = 8
_TIMEOUT: Final = 120.0


def covered(configuration: str = CONFIGURATION) -> frozenset[str]:
    """The real paths of the directories that ldconfig(8) looks through."""
    named = (*TRUSTED, *_configured(configuration, _MAX_INCLUDES))
    return frozenset(os.path.realpath(directory) for directory in named)


def _configured(path: str, depth: int) -> Iterator[str]:
    """The directories of an ld.so.conf and of what it includes."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return
    for line in data.splitlines():
        words = [os.fsdecode(word) for word in line.split(b"#", 1)[0].split()]
        if words[:1] == ["include"]:
            for pattern in words[1:] if depth else ():
                full = pattern if pattern.startswith("/") else str(Path(path).parent / pattern)
                for included in sorted(glob.glob(full)):  # noqa: PTH207  Path refuses absolute ones
                    yield from _configured(included, depth - 1)
        elif len(words) == 1 and words[0].startswith("/"):
            yield words[0].split("=", 1)[0]


def is_outdated_by(changes: Iterable[Change], directories: frozenset[str]) -> bool:
    """Whether changes bring or take a file name or a SONAME that the cache should know."""
    return any(change.directory in directories and _counts(change) for change in changes)


def _counts(change: Change) -> bool:
    if ".so" not in change.name:
        return False
    match change.before, change.after:
        case (Nothing(), _) | (_, Nothing()):
            return True
        case File(soname=old), File(soname=new):
            return old != new
        case _:
            return False


def refresh(*, needed: bool) -> list[str]:
    """Run ldconfig where it is needed.

    Returns:
        What went wrong, in words: the files are in place all the same.
    """
    if not needed:
        return []
    try:
        done = command.run(["ldconfig"], timeout=_TIMEOUT)
    except ProgramFailed as error:
        return [f"{error.message}; run ldconfig by hand"]
    return [] if done.status == 0 else [f"ldconfig failed: {done.complaint}; run it by hand"]
