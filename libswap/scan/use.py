"""One file in one process: which file it is, how it came there, whether a restart changes it."""

from dataclasses import dataclass
from typing import TypeAlias

from libswap.linux.files import FileId
from libswap.scan.loading import Loading
from libswap.scan.owner import Process
from libswap.scan.stale import (
    Current,
    Deleted,
    Moved,
    NotLibrary,
    Overwritten,
    Replaced,
    State,
    Superseded,
    Undecided,
)

Range: TypeAlias = tuple[int, int]
"""First address, and the first behind it."""


@dataclass(frozen=True, slots=True)
class Use:
    """A file as one process has it mapped.

    Attributes:
        path: its name as the process sees it.
        file: the mapped inode as stat(2) numbers it; None where we may not ask.
        state: whether the name still leads to it.
        stale: whether a restart would bring another build of it.
        ranges: where it is mapped.
        loaded: how it came there.
        running_build_id: of the mapped inode; after an overwrite in place, of the new bytes.
        disk_build_id: of the file that the process would load now.
    """

    path: str
    file: FileId | None
    state: State
    stale: bool
    ranges: tuple[Range, ...]
    loaded: Loading
    running_build_id: str | None
    disk_build_id: str | None


@dataclass(frozen=True, slots=True)
class User:
    """A process, and what it uses of the files in question."""

    process: Process
    uses: tuple[Use, ...]


def is_stale(state: State, running: str | None, on_disk: str | None) -> bool:
    """Whether a restart brings other code: the same build put there anew needs none."""
    match state:
        case Deleted() | Overwritten():
            return True
        case Replaced() | Superseded():
            return running is None or running != on_disk
        case Current() | Moved() | NotLibrary() | Undecided():
            return False
