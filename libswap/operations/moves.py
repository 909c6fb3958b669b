"""What became of each process that was to be moved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.handles import NotDrained
from libswap.errors.live import NotAllMoved
from libswap.live.outlook import Outlook
from libswap.live.unloading import Kept, Unloaded
from libswap.operations.draining import (
    DrainBegun,
    DrainPlanned,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.survival import Survival


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done; nothing was.

    Attributes:
        survival: whether objects that the old library made survive.
    """

    outlook: Outlook
    survival: Survival | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """It runs on the new library now; libraries that were moved in one commit share the id."""

    id: str
    stopped_for: float
    attempts: int
    threads: int
    outlook: Outlook
    rehearsed: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """There was nothing to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It goes on as before."""

    error: str
    reason: str
    instead: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class MovedBack:
    """It was moved, the check failed, and it was moved back."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StillMoved:
    """It was moved, the check failed, and it could not be moved back: it runs on the new library.

    Attributes:
        id: of the swap.
        reason: why the check was not content.
        trouble: why it could not be moved back.
    """

    id: str
    reason: str
    trouble: str


Outcome: TypeAlias = (
    Planned | Moved | Skipped | Refused | MovedBack | StillMoved
    | DrainPlanned | DrainBegun | StillDraining | Settled | TakenBack
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What became of one library in one process.

    Attributes:
        pid: of the process.
        name: its short name.
        library: path of the copy that was in use.
        outcome: what was done, or why not.
        copies: what became of copies that are not in use, where they were to be unloaded.
    """

    pid: int
    name: str
    library: str
    outcome: Outcome
    copies: tuple[Unloaded | Kept, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A library that was asked for.

    Attributes:
        library: by the name that processes know.
        new: the file that is to be used.
        build_id: of that file.
    """

    library: str
    new: str
    build_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all of them.

    Attributes:
        libraries: what was asked for.
        processes: one result per process and copy of a library.
        uninspected: processes that could not be looked at.
    """

    libraries: tuple[Asked, ...]
    processes: tuple[ProcessResult, ...]
    uninspected: int

    @property
    def exit_code(self) -> int:
        """0 where every process runs on the new library; see docs/reference/exit-codes.md."""
        codes = {p.outcome.exit_code for p in self.processes if isinstance(p.outcome, Refused)}
        if any(isinstance(p.outcome, StillDraining) for p in self.processes):
            codes.add(NotDrained.exit_code)
        back = self.check_failed != ""
        moved = any(isinstance(p.outcome, Moved | DrainBegun) for p in self.processes)
        if not codes and not back:
            return 0
        return codes.pop() if len(codes) == 1 and not moved and not back else NotAllMoved.exit_code

    @property
    def check_failed(self) -> str:
        """Why the user's check was not content, "" where it was with every process."""
        return why_not_content(self.processes)

    def pids_refused_by(self, error: str) -> tuple[int, ...]:
        """The processes that were left as they are for one class of reasons."""
        refused = ((p.pid, p.outcome) for p in self.processes)
        return tuple(
            dict.fromkeys(p for p, o in refused if isinstance(o, Refused) and o.error == error)
        )

    def followed_by(self, later: "Report") -> "Report":
        """With a second try for some processes."""
        again = {p.pid for p in later.processes}
        rest = tuple(p for p in self.processes if p.pid not in again)
        return replace(self, processes=(*rest, *later.processes))


def as_refused(error: LibswapError) -> Refused:
    """An error as a result."""
    return Refused(type(error).__name__, error.message, error.hint, error.exit_code)


def process_name(pid: int) -> str:
    """Its short name, "" where it has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="surrogateescape").rstrip("\n")
    except OSError:
        return ""


def why_not_content(results: Sequence[ProcessResult]) -> str:
    """Why the user's check was not content with the first of them, "" where it was."""
    failed = (r.outcome for r in results if isinstance(r.outcome, MovedBack | StillMoved))
    return next((outcome.reason for outcome in failed), "")


def counted(results: Sequence[ProcessResult], kind: type[Outcome]) -> int:
    """How many results are of a kind."""
    return sum(isinstance(r.outcome, kind) for r in results)
