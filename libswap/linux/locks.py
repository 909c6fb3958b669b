"""An exclusive lock on a file, which ends with the process that holds it (flock(2))."""

import fcntl
import os
import time
from typing import Final

from libswap.linux.files import Directory, refusal

_PAUSE: Final = 0.05


def try_lock(directory: Directory, name: str, wait: float) -> int | None:
    """Lock a file, made where it is missing; closing the descriptor, or dying, unlocks it.

    Args:
        directory: where the file lies.
        name: its name there.
        wait: seconds to wait for whoever holds it.

    Returns:
        The descriptor that holds the lock, open to read and write; None if it stayed taken.
    """
    deadline = time.monotonic() + wait
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with refusal("lock", directory.join(name)):
        descriptor = os.open(name, flags, 0o600, dir_fd=directory.descriptor)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(_PAUSE)
            except OSError:
                os.close(descriptor)
                raise
            else:
                return descriptor


def is_locked(directory: Directory, name: str) -> bool:
    """Whether somebody holds the lock at this moment; the file is not made."""
    if directory.lstat(name) is None:
        return False
    descriptor = directory.open(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def lock_directory(directory: Directory) -> bool:
    """Lock a directory itself until its descriptor is closed; returns whether it was free."""
    try:
        fcntl.flock(directory.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
