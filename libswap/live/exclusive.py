"""One libswap at a time in one process: a lock that ends with its holder and leaves no file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from libswap.errors import ProcessGone, TargetBusy
from libswap.linux.procfs import PROC

_PAUSE = 0.01


@contextmanager
def exclusively(pid: int, deadline: float) -> Iterator[None]:
    """Hold the lock of a process: flock(2) on its directory in /proc.

    Raises:
        TargetBusy: another libswap held it until `deadline` (monotonic seconds).
        ProcessGone: it has ended.
    """
    try:
        descriptor = os.open(PROC.path(pid, ""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessGone(pid) from None
    try:
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise TargetBusy(pid)
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
