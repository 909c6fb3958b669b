"""One file in one process: which file it really is, how it came there, whether it is stale."""

from dataclasses import dataclass, field
from typing import TypeAlias

from libswap.linux.files import FileId
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey
from libswap.scan.census import MappedFile
from libswap.scan.loading import Loading, how_loaded
from libswap.scan.lookup import Lookup
from libswap.scan.modules import Modules
from libswap.scan.stale import (
    Current,
    Deleted,
    NotLibrary,
    Overwritten,
    Replaced,
    State,
    Superseded,
    Undecided,
    Verdict,
    judge,
)
from libswap.scan.witness import Witness, build_id_of

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


@dataclass(slots=True)
class Examiner:
    """Makes uses; remembers what is the same for every process that maps a file."""

    procfs: Procfs = PROC
    modules: Modules = field(default_factory=Modules)
    _verdicts: dict[MappedFile, Verdict] = field(default_factory=dict)

    def verdict(self, file: MappedFile, lookup: Lookup, witness: Witness) -> Verdict:
        """Whether a mapped file is current, found out once for all that share a view.

        Raises:
            OSError: the witness has ended or mapped something else meanwhile.
        """
        if file not in self._verdicts:
            self._verdicts[file] = judge(file.key, lookup, witness)
        return self._verdicts[file]

    def use(self, key: FileKey, verdict: Verdict, lookup: Lookup, witness: Witness) -> Use:
        """The use that a process makes of a file.

        Raises:
            OSError: the process has ended or unmapped the file.
        """
        mappings = witness.of(key)
        if not mappings:
            raise ProcessLookupError
        running = witness.build_id(mappings[0])
        on_disk = _build_id_on_disk(verdict, lookup, running)
        return Use(
            path=verdict.path,
            file=verdict.file,
            state=verdict.state,
            stale=is_stale(verdict.state, running, on_disk),
            ranges=tuple((m.start, m.end) for m in mappings),
            loaded=how_loaded(key, witness, lookup, self.modules),
            running_build_id=running,
            disk_build_id=on_disk,
        )


def _build_id_on_disk(verdict: Verdict, lookup: Lookup, running: str | None) -> str | None:
    match verdict.state:
        case Current() | Overwritten():
            return running
        case Superseded(by=path):
            image = lookup.image_seen(path)
        case _:
            image = lookup.image(verdict.name)
    return None if image is None else build_id_of(image)


def is_stale(state: State, running: str | None, on_disk: str | None) -> bool:
    """Whether a restart brings other code: the same build put there anew needs none."""
    match state:
        case Deleted() | Overwritten():
            return True
        case Replaced() | Superseded():
            return running is None or running != on_disk
        case Current() | NotLibrary() | Undecided():
            return False
