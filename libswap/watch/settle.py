"""When a dropped file is finished: pure, over what was seen of it and when."""

import os
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self, TypeAlias

from libswap.linux.files import FileId

MAX_NAME: Final = 200
"""Bytes of a name; what is set aside gets a suffix, and 255 is the limit of most file systems."""

_IGNORED_ENDS: Final = (
    "~", ".part", ".partial", ".filepart", ".crdownload", ".tmp", ".temp", ".swp", ".swo", ".swx",
    ".bak", ".orig", ".dpkg-new", ".dpkg-tmp", ".dpkg-old", ".dpkg-dist", ".dpkg-bak", ".rpmnew",
    ".rpmsave", ".rpmorig", ".pacnew", ".pacsave",
)  # fmt: skip
_IGNORED_BEGINNINGS: Final = (".", "#")


def is_ignored(name: str) -> bool:
    """Whether a name says that its file is not for us, or not finished: it waits for a rename."""
    return name.startswith(_IGNORED_BEGINNINGS) or name.lower().endswith(_IGNORED_ENDS)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
        settle: without a change, where it is known that nobody writes.
        quiet: without a change, where that cannot be known.
        incomplete: without a change, for the rest of a file that is cut off.
    """

    settle: float = 0.5
    quiet: float = 5.0
    incomplete: float = 300.0


@dataclass(frozen=True, slots=True)
class Print:
    """What changes when a file changes."""

    inode: FileId
    size: int
    mtime: int
    ctime: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """From a stat."""
        return cls(FileId.of(status), status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Hint(Enum):
    """What an event said of a name."""

    FINISHED = "finished"
    """Moved here, or closed after writing: by one writer, who may not be the last."""
    TOUCHED = "touched"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a name found.

    Attributes:
        print: of the file.
        written: whether somebody has it open for writing; None where nobody can say.
        complete: whether it is whole as far as its own headers tell.
    """

    print: Print
    written: bool | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A file over time, on a clock that only goes forward.

    Attributes:
        look: the last.
        since: when it was first seen as it is now.
        finished: whether an event has said so since then.
    """

    look: Look
    since: float
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """It can be taken; cut off though it may be, nobody goes on with it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at this time, if no event comes before."""

    until: float


Verdict: TypeAlias = Settled | Wait


def seen(before: Seen | None, look: Look, hint: Hint | None, now: float) -> Seen:
    """What is known of a file after one more look."""
    finished = hint is Hint.FINISHED
    if before is None or before.look.print != look.print:
        return Seen(look, now, finished)
    return replace(before, look=look, finished=finished or before.finished)


def judge(file: Seen, patience: Patience, now: float) -> Verdict:
    """Whether a file has settled."""
    if file.look.written:
        return Wait(now + patience.settle)
    known = file.look.written is False or file.finished
    due = file.since + (patience.settle if known else patience.quiet)
    if not file.look.complete:
        due = file.since + max(patience.incomplete, patience.settle)
    return Settled() if now >= due else Wait(due)
