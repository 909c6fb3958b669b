"""The locks of the directories in which names change, whatever state directory is used.

They do not lie in those directories: whoever may read one could hold its lock, and keep us waiting.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from libswap.errors.base import SystemRefused
from libswap.errors.install import LockHeld, NoSpace
from libswap.install.state import require_trust
from libswap.linux.files import Directory, FileId
from libswap.linux.locks import try_lock


@contextmanager
def alone_in(directories: Iterable[Directory], wait: float) -> Iterator[None]:
    """Keep every other libswap of ours from changing names in some directories.

    Args:
        directories: where names are about to change.
        wait: seconds to wait for another libswap, for each.

    Raises:
        LockHeld: somebody else kept one for longer than `wait`.
        UntrustedState: others could write to where the locks are.
    """
    with ExitStack() as held:
        locks = _locks()
        if locks is not None:
            held.enter_context(locks)
            require_trust(locks)
            paths = {FileId.of(directory.status): directory.path for directory in directories}
            for which in sorted(paths):  # in one order, or two of us could wait for each other
                lock = try_lock(locks, f"{which.device:x}-{which.inode}", wait)
                if lock is None:
                    raise LockHeld(paths[which], 0, "")
                held.callback(os.close, lock)
        yield


def _locks() -> Directory | None:
    """The directory of the locks; None where the system has no place for them.

    Root uses /run (hier(7)), others the runtime directory of their login (XDG Base Directory
    Specification 0.8): both are empty again after a boot, when nobody holds anything.
    """
    place = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    if not place.startswith("/") or not Path(place).is_dir():
        return None
    with suppress(SystemRefused, NoSpace):
        return Directory.make(f"{place}/libswap/locks", 0o700)
    return None
