"""What a process's record says about a library that is being drained in it."""

from dataclasses import dataclass
from enum import StrEnum

from libswap.live.draining.handles import Anchor


class Stage(StrEnum):
    """How far it has come. What is under way is finished by the next libswap if we are killed."""

    BEGINNING = "beginning"
    DRAINING = "draining"
    SETTLING = "settling"
    GOING_BACK = "going back"
    RESTORING = "restoring"

    def __str__(self) -> str:
        return self.value


class Then(StrEnum):
    """What becomes of a drain whose time is up."""

    KEEP = "keep"
    WARN = "warn"
    REVERT = "revert"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class DrainRecord:
    """Two copies of a library in use at once. Addresses are absolute.

    Attributes:
        event: the id of its event.
        family: index in the record.
        source: load base of the copy that made the old objects.
        target: load base of the copy that makes the new ones.
        table: address of the table of handles.
        description: name of the description of the library's handles.
        pointers, code, linked, anchors, hidden, values: how objects are found, if there are any
            (see `handles.Description`).
        functions: entry of the source -> function of the target.
        until: when its time is up, in seconds since the epoch; 0 for never.
        then: what becomes of it then.
    """

    event: str
    family: int
    source: int
    target: int
    table: int
    description: str
    pointers: bool
    linked: tuple[tuple[int, int], ...]
    hidden: tuple[str, ...]
    functions: tuple[tuple[int, int], ...]
    stage: Stage
    until: float = 0.0
    then: Then = Then.KEEP
    anchors: tuple[Anchor, ...] = ()
    code: bool = False
    values: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether a libswap is at work on it, or was killed while it was."""
        return self.stage not in (Stage.DRAINING, Stage.GOING_BACK)
