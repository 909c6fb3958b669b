"""Copies of the records of processes, kept in the state directory; those in the processes count."""

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.linux.files import Directory
from libswap.live import facts
from libswap.live.subject import Subject
from libswap.process.identity import Identity

_DIRECTORY: Final = "live"
_MOST_LOOKED_AT: Final = 100_000


def keep(state_dir: Path | None, subject: Subject) -> None:
    """Write the record of a process to PID-START.json; where that cannot be, nothing is lost."""
    if state_dir is None or subject.place is None:
        return
    identity = subject.identity
    file = _directory(state_dir) / f"{identity.pid}-{identity.start_time}.json"
    with suppress(OSError, LibswapError):
        with Directory.make(str(state_dir), 0o700) as root:
            root.make_below(_DIRECTORY, 0o700)
        fresh = file.with_suffix(".new")
        fresh.write_text(facts.written(subject.place.record))
        fresh.replace(file)


def forget_ended(state_dir: Path | None) -> None:
    """Remove the copies of processes that have ended, and what a killed libswap half wrote."""
    if state_dir is None:
        return
    with suppress(OSError):
        for file in islice(_directory(state_dir).iterdir(), _MOST_LOOKED_AT):
            if not _lives(file.stem):
                file.unlink(missing_ok=True)


def _directory(state_dir: Path) -> Path:
    return state_dir / _DIRECTORY


def _lives(name: str) -> bool:
    pid, _, start = name.partition("-")
    try:
        Identity(int(pid), int(start)).check()
    except (ValueError, ProcessGone):
        return False
    return True
