"""What has been done, newest first."""

from dataclasses import dataclass

from libswap.install import history, journal
from libswap.install.history import Operation, paths
from libswap.install.state import opened
from libswap.install.target import real
from libswap.settings import Settings


@dataclass(frozen=True, slots=True)
class Told:
    """What the history says.

    Attributes:
        operations: newest first.
        damaged: the numbers of the lines that cannot be read.
        interrupted: whether an operation waits for `libswap recover`.
        path: the file that was asked about; None for all.
    """

    operations: tuple[Operation, ...]
    damaged: tuple[int, ...]
    interrupted: bool
    path: str | None = None


def tell(settings: Settings, path: str | None = None, limit: int | None = None) -> Told:
    """Read the history.

    Args:
        settings: where the state lies.
        path: only operations that changed this file.
        limit: how many at most.
    """
    with opened(settings.state_dir) as state:
        if state is None:
            return Told((), (), interrupted=False, path=path)
        known = history.load(state.directory)
        interrupted = state.directory.lstat(journal.NAME) is not None
    found = [o for o in reversed(known.operations) if path is None or _concerns(o, path)]
    return Told(tuple(found[:limit]), known.damaged, interrupted, path)


def _concerns(operation: Operation, path: str) -> bool:
    names = paths(operation.transaction)
    return path in names or real(path) in names
