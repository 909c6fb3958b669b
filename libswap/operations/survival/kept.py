"""What comparisons of two files came to, kept in the state directory.

A file is known by what a process gets of it, so that a build id chosen by hand deceives nobody.
What cannot be trusted or read is not there; a write that is cut off leaves nothing or the old file.
"""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from libswap import __version__
from libswap.elf.notes import build_id
from libswap.errors.base import LibswapError
from libswap.install import records
from libswap.install.records import Malformed
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.survival.identity import loaded
from libswap.survival.sources import Source

T = TypeVar("T")

_DIRECTORY: Final = "survival"
_FORMAT: Final = 8
"""Raised whenever the same files would give another result."""
_LARGEST: Final = 1 << 22
_MOST: Final = 200


def find(state_dir: Path | None, old: Source, new: Source, kind: type[T]) -> T | None:
    """What was found before, None where nothing is kept that can be trusted."""
    if state_dir is None:
        return None
    place = state_dir / _DIRECTORY
    with suppress(OSError, LibswapError, Malformed), Directory(str(place)) as directory:
        if not _trusted(directory.status):
            return None
        descriptor = directory.open(_name(old, new, kind))
        try:
            if not _trusted(os.fstat(descriptor)) or os.fstat(descriptor).st_size > _LARGEST:
                return None
            text = next(records.lines(os.read(descriptor, _LARGEST)), None)
        finally:
            os.close(descriptor)
        return records.parse(text, kind) if isinstance(text, bytes) else None
    return None


def keep(state_dir: Path | None, old: Source, new: Source, found: object) -> None:
    """Keep a result, if there is room, and if it is not too large to be read again."""
    line = records.line(found)
    if state_dir is None or len(line) > _LARGEST:
        return
    place = state_dir / _DIRECTORY
    name = _name(old, new, type(found))
    with suppress(OSError, LibswapError):
        with Directory.make(str(state_dir), 0o700) as root:
            root.make_below(_DIRECTORY, 0o700)
        with Directory(str(place)) as directory:
            if _trusted(directory.status):
                _write(directory, name, line)
                _forget(directory)


def _write(directory: Directory, name: str, data: bytes) -> None:
    fresh = f".{name}.{os.getpid()}"
    directory.unlink(fresh)
    descriptor = directory.create(fresh)
    try:
        files.write_all(descriptor, data, directory.join(fresh))
        files.sync(descriptor, directory.join(fresh))
    finally:
        os.close(descriptor)
    directory.rename(fresh, name)


def _forget(directory: Directory) -> None:
    """The oldest results, where there are too many."""
    found = [(s.st_mtime_ns, n) for n in directory.names() if (s := directory.lstat(n))]
    for _, name in sorted(found)[:-_MOST]:
        directory.unlink(name)


def _name(old: Source, new: Source, kind: type[object]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {__version__} {kind.__name__}".encode())
    for source in (old, new):
        digest.update(loaded(source.image))
        for more in (source.symbols, source.debug):
            digest.update(((more and build_id(more)) or "").encode())
            digest.update(b"with" if more else b"without")
    return digest.hexdigest()


def _trusted(status: os.stat_result) -> bool:
    mine = status.st_uid in (os.geteuid(), 0)
    return mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
