"""One libswap at a time in one process: a lock that ends with its holder and leaves no file."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libswap.errors.process import ProcessGone, TargetBusy
from libswap.linux.procfs import PROC

_PAUSE: Final = 0.01


class _Held(threading.local):
    """The processes whose lock a thread of ours holds."""

    def __init__(self) -> None:
        self.pids: set[int] = set()


_held: Final = _Held()


@contextmanager
def exclusively(pid: int, deadline: float) -> Iterator[None]:
    """Hold the lock of a process: flock(2) on its directory in /proc.

    For a thread that holds it already it is nothing.

    Whoever looks at a process in order to change it holds it from the first look on: what another
    libswap does in between would make that look untrue.

    Raises:
        TargetBusy: another libswap held it until `deadline` (monotonic seconds).
        ProcessGone: it has ended.
    """
    if pid in _held.pids:
        yield
        return
    try:
        descriptor = os.open(PROC.path(pid, ""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    try:
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise TargetBusy(pid)
            time.sleep(_PAUSE)
        _held.pids.add(pid)
        yield
    finally:
        _held.pids.discard(pid)
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
