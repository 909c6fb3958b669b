"""The state directory: the lock, the journal, the history and the store live in it."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libswap.errors.install import LockHeld, UntrustedState
from libswap.install import records
from libswap.install.records import Malformed
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.linux.locks import try_lock

_LOCK: Final = "lock"
_STORE: Final = "store"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock, as it wrote there itself.

    Attributes:
        pid: its PID.
        purpose: the command.
        since: seconds since the epoch.
    """

    pid: int
    purpose: str
    since: float


@dataclass(frozen=True, slots=True)
class State:
    """An open state directory.

    Attributes:
        directory: the directory itself.
        store: the kept files, in a directory below it.
        wait: seconds to wait for another libswap.
    """

    directory: Directory
    store: Directory
    wait: float = 0.0


@contextmanager
def locked(path: Path, wait: float, purpose: str) -> Iterator[State]:
    """Open a state directory for changes, made where it is missing, alone.

    Args:
        path: the directory.
        wait: seconds to wait for another libswap.
        purpose: the command, for whoever waits for us.

    Raises:
        LockHeld: somebody else kept it for longer than `wait`.
        UntrustedState: others could write to it.
        SystemRefused, NoSpace: it cannot be made.
    """
    with Directory.make(str(path.absolute()), 0o700) as directory:
        require_trust(directory)
        lock = try_lock(directory, _LOCK, wait)
        if lock is None:
            holder = _holder(directory)
            raise LockHeld(str(path), *((holder.pid, holder.purpose) if holder else (0, "")))
        try:
            _sign(lock, purpose)
            with Directory.make(directory.join(_STORE), 0o700) as store:
                yield State(directory, store, wait)
        finally:
            os.close(lock)


@contextmanager
def opened(path: Path) -> Iterator[State | None]:
    """Open a state directory to look at it; None where there is none, and nothing is made.

    What is seen may be in the middle of a change by another libswap.
    """
    if not path.is_dir():
        yield None
        return
    with Directory(os.path.realpath(path)) as directory:
        if directory.lstat(_STORE) is None:
            yield None
            return
        with Directory(directory.join(_STORE)) as store:
            yield State(directory, store)


def require_trust(directory: Directory) -> None:
    """Make sure that nobody else can write to a directory of ours.

    Raises:
        UntrustedState: others can.
    """
    status = directory.status
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise UntrustedState(directory.path)


def _sign(lock: int, purpose: str) -> None:
    """Say in the lock file who holds it; a courtesy, nothing depends on it."""
    with files.refusal("write", "the lock"):
        os.ftruncate(lock, 0)
        files.write_all(lock, records.line(Holder(os.getpid(), purpose, time.time())), "the lock")


def _holder(directory: Directory) -> Holder | None:
    descriptor = directory.open(_LOCK)
    try:
        text = next(records.lines(os.read(descriptor, 4096)), None)
        return records.parse(text, Holder) if isinstance(text, bytes) else None
    except Malformed:
        return None
    finally:
        os.close(descriptor)
