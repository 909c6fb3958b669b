"""What the watcher of drop directories has written: its ledger, and what is under way."""

import os
from typing import Final

from libswap.errors.base import SystemRefused
from libswap.errors.watch import RecordUnreadable
from libswap.install import records
from libswap.install.records import Malformed
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.linux.locks import is_locked
from libswap.operations.deployments import (
    MARKS,
    Cleared,
    Current,
    Deployment,
    Ended,
    Mark,
    Told,
)
from libswap.settings import Settings

DIRECTORY: Final = "watch"
"""Of the watcher, in the state directory."""
LOCK: Final = "lock"
CURRENT: Final = "current"
LEDGER: Final = "ledger"
OLDER: Final = "ledger.old"

_TAIL: Final = 1 << 20
"""Bytes of the ledger that surely hold its last line: a hundred long names twice."""


def tell(settings: Settings, limit: int = 20) -> Told:
    """Read what the watcher has written; nothing is changed.

    Raises:
        RecordUnreadable: the record of what is under way is damaged.
    """
    path = settings.state_dir / DIRECTORY
    if not path.is_dir():
        return Told(None, (), 0, running=False)
    with Directory(os.path.realpath(path)) as directory:
        written = lines(directory)
        ended = [line for line in reversed(written) if isinstance(line, Ended)]
        running = is_locked(directory, LOCK)
        return Told(current(directory), tuple(ended[:limit]), written.count(None), running)


def past(settings: Settings) -> list[Ended | Cleared | None]:
    """What came to its end, as `lines`; nothing where no watcher has ever run."""
    path = settings.state_dir / DIRECTORY
    if not path.is_dir():
        return []
    with Directory(os.path.realpath(path)) as directory:
        return lines(directory)


def current(directory: Directory) -> Current | None:
    """What is under way; a mark at the end that was torn had not been acted upon.

    Raises:
        RecordUnreadable: the record is not as it was written.
    """
    data = _read(directory, CURRENT)
    if data is None:
        return None
    found = list(records.lines(data))
    try:
        return _parsed(found)
    except Malformed as error:
        raise RecordUnreadable(directory.join(CURRENT), str(error)) from None


def _parsed(found: list[bytes | records.Damage]) -> Current:
    whole = [text for text in found if isinstance(text, bytes)]
    if not whole or any(isinstance(text, records.Damage) and not text.last for text in found):
        raise Malformed("one of its lines is damaged")
    first = records.parse(whole[0], Deployment)
    marks: list[Mark] = [records.parse(text, *MARKS) for text in whole[1:]]  # type: ignore[misc]
    return Current(first, tuple(marks))


def lines(directory: Directory) -> list[Ended | Cleared | None]:
    """What came to its end, oldest first; None for a line that cannot be read."""
    found: list[Ended | Cleared | None] = []
    for name in (OLDER, LEDGER):
        found += map(_line, records.lines(_read(directory, name) or b""))
    return found


def last_ended(directory: Directory) -> Ended | None:
    """The newest deployment of the ledger, without reading all of it."""
    data = tail(directory, LEDGER, _TAIL) or tail(directory, OLDER, _TAIL)
    whole = data if len(data) < _TAIL else data.partition(b"\n")[2]
    found = map(_line, reversed(list(records.lines(whole))))
    return next((line for line in found if isinstance(line, Ended)), None)


def tail(directory: Directory, name: str, size: int) -> bytes:
    """The last bytes of one of our files; none where it is not there."""
    return _read(directory, name, size) or b""


def _line(text: bytes | records.Damage) -> Ended | Cleared | None:
    if not isinstance(text, bytes):
        return None
    try:
        found: Ended | Cleared = records.parse(text, Ended, Cleared)  # type: ignore[assignment]
    except Malformed:
        return None
    return found


def _read(directory: Directory, name: str, last: int = 1 << 30) -> bytes | None:
    """The last bytes of one of our files; None where it is not there, or has just gone."""
    if directory.lstat(name) is None:
        return None
    try:
        descriptor = directory.open(name)
    except SystemRefused:
        if directory.lstat(name) is None:
            return None
        raise
    try:
        with files.refusal("read", directory.join(name)):
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, min(size, last), max(size - last, 0))
    finally:
        os.close(descriptor)
