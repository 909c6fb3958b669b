"""What the watcher of drop directories has deployed and rejected, and what is under way."""

import os
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from libswap.errors.base import SystemRefused
from libswap.errors.watch import NotAllDeployed, RecordUnreadable
from libswap.install import records
from libswap.install.records import Malformed
from libswap.install.transaction import Affected
from libswap.linux import files
from libswap.linux.files import Directory, FileId
from libswap.linux.locks import is_locked
from libswap.settings import Settings

DIRECTORY: Final = "watch"
"""Of the watcher, in the state directory."""
LOCK: Final = "lock"
CURRENT: Final = "current"
LEDGER: Final = "ledger"
OLDER: Final = "ledger.old"


class Outcome(Enum):
    """What became of a drop."""

    DEPLOYED = "deployed"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Drop:
    """A file that was found in a drop directory.

    Attributes:
        name: in the directory.
        inode: which one it was.
        size: in bytes.
        mtime: of the inode, nanoseconds since the epoch.
        sha256: of the bytes that were taken, hexadecimal; "" where they were not.
    """

    name: str
    inode: FileId
    size: int
    mtime: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Files that are deployed together, all of them or none.

    Attributes:
        id: unique, sorted by time.
        directory: where they were dropped.
        to: where they go.
        policy: what becomes of running processes: live, restart or none.
        received: when they were taken, seconds since the epoch.
        drops: all files that are set aside together, signatures and manifest included.
        targets: each library among them and the destination that its name maps to.
        refusal: why they are not deployed; "" where they may be.
    """

    id: str
    directory: str
    to: str
    policy: str
    received: float
    drops: tuple[Drop, ...]
    targets: tuple[tuple[str, str], ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A watcher was killed in the middle and another goes on."""

    time: float


@dataclass(frozen=True, slots=True)
class Installing:
    """The installation is begun under this id; the history knows whether it came to be.

    Attributes:
        operation: its id.
        moves: each old library that processes may run, with the file that stands in for it.
        affected: the processes that had an old file mapped.
        units: their systemd units, as far as they can be restarted.
    """

    operation: str
    moves: tuple[tuple[str, str], ...] = ()
    affected: tuple[Affected, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acted:
    """Running processes were moved or restarted.

    Attributes:
        watched: the processes that have to stay alive.
        remarks: what did not go as one would wish, in words.
    """

    watched: tuple[Affected, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undoing:
    """It failed and is taken back."""

    reason: str


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The files are taken back under this id; the history knows whether they were."""

    operation: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of it is decided; what is left is to put things in their places.

    Attributes:
        outcome: what became of it.
        reason: why it was not deployed; "" where it was.
        operation: the installation, where there was one.
        rollback: how that was taken back.
        aside: the name that each drop gets in deployed/ or rejected/, in their order.
        remarks: what one should know.
    """

    outcome: Outcome
    reason: str
    operation: str | None
    rollback: str | None
    aside: tuple[str, ...]
    remarks: tuple[str, ...] = ()


Mark: TypeAlias = Resumed | Installing | Acted | Undoing | RollingBack | Ending
_TAIL: Final = 1 << 20
"""Bytes of the ledger that surely hold its last line: a hundred long names twice."""

MARKS: Final = (Resumed, Installing, Acted, Undoing, RollingBack, Ending)


@dataclass(frozen=True, slots=True)
class Current:
    """A deployment that is not at its end, and how far it has come."""

    deployment: Deployment
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A line of the ledger: a deployment and its end.

    Attributes:
        deployment: which one.
        outcome: what became of it.
        reason: why it was not deployed; "" where it was.
        operation: the installation, as `libswap history` shows it; None where nothing changed.
        rollback: the operation that took it back.
        ended: seconds since the epoch.
        remarks: what one should know.
    """

    deployment: Deployment
    outcome: Outcome
    reason: str
    operation: str | None
    rollback: str | None
    ended: float
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleared:
    """A line of the ledger: an administrator looked after failures, and counting begins anew."""

    time: float


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that a watcher did or met, for logs and screens.

    Attributes:
        time: seconds since the epoch.
        kind: what it is about: started, waiting, taken, installed, deployed, rejected, failed…
        text: one sentence.
        directory: the drop directory; "" for the watcher itself.
        names: the files.
        deployment: its id; "" where there is none yet.
        operation: the installation, as `libswap history` shows it.
        trouble: whether somebody should look after it.
    """

    time: float
    kind: str
    text: str
    directory: str = ""
    names: tuple[str, ...] = ()
    deployment: str = ""
    operation: str = ""
    trouble: bool = False


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of files that lie in a drop directory.

    Attributes:
        directory: where they lie.
        names: of the files.
        targets: each library among them and what it would replace.
        verdicts: how the old compares to the new, where there is an old one.
        refusal: why they would be rejected; "" where they would be deployed.
    """

    directory: str
    names: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]
    verdicts: tuple[str, ...]
    refusal: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What `watch --once` would do.

    Attributes:
        files: in the order in which they would be taken.
        waiting: what is not finished, or waits for something.
    """

    files: tuple[Foreseen, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """What `watch --once` did.

    Attributes:
        ended: the deployments, in their order.
        waiting: what is not finished, or waits for something: the next time.
    """

    ended: tuple[Ended, ...]
    waiting: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 where nothing was rejected; see docs/reference/exit-codes.md."""
        bad = any(e.outcome is not Outcome.DEPLOYED for e in self.ended)
        return NotAllDeployed.exit_code if bad else 0


@dataclass(frozen=True, slots=True)
class Told:
    """What `watch status` says.

    Attributes:
        current: what is under way, or was when the watcher was killed.
        ended: newest first.
        damaged: how many lines of the ledger cannot be read.
        running: whether a watcher works with this state directory.
    """

    current: Current | None
    ended: tuple[Ended, ...]
    damaged: int
    running: bool


def tell(settings: Settings, limit: int = 20) -> Told:
    """Read what the watcher has written; nothing is changed.

    Raises:
        RecordUnreadable: the record of what is under way is damaged.
    """
    path = settings.state_dir / DIRECTORY
    if not path.is_dir():
        return Told(None, (), 0, running=False)
    with Directory(os.path.realpath(path)) as directory:
        lines = ledger(directory)
        ended = [line for line in reversed(lines) if isinstance(line, Ended)]
        running = is_locked(directory, LOCK)
        return Told(current(directory), tuple(ended[:limit]), lines.count(None), running)


def current(directory: Directory) -> Current | None:
    """What is under way; a mark at the end that was torn had not been acted upon.

    Raises:
        RecordUnreadable: the record is not as it was written.
    """
    data = _read(directory, CURRENT)
    if data is None:
        return None
    found = list(records.lines(data))
    try:
        return _parsed(found)
    except Malformed as error:
        raise RecordUnreadable(directory.join(CURRENT), str(error)) from None


def _parsed(found: list[bytes | records.Damage]) -> Current:
    whole = [text for text in found if isinstance(text, bytes)]
    if not whole or any(isinstance(text, records.Damage) and not text.last for text in found):
        raise Malformed("one of its lines is damaged")
    first = records.parse(whole[0], Deployment)
    marks: list[Mark] = [records.parse(text, *MARKS) for text in whole[1:]]  # type: ignore[misc]
    return Current(first, tuple(marks))


def ledger(directory: Directory) -> list[Ended | Cleared | None]:
    """What came to its end, oldest first; None for a line that cannot be read."""
    found: list[Ended | Cleared | None] = []
    for name in (OLDER, LEDGER):
        found += map(_line, records.lines(_read(directory, name) or b""))
    return found


def last_ended(directory: Directory) -> Ended | None:
    """The newest deployment of the ledger, without reading all of it."""
    data = tail(directory, LEDGER, _TAIL) or tail(directory, OLDER, _TAIL)
    whole = data if len(data) < _TAIL else data.partition(b"\n")[2]
    found = map(_line, reversed(list(records.lines(whole))))
    return next((line for line in found if isinstance(line, Ended)), None)


def tail(directory: Directory, name: str, size: int) -> bytes:
    """The last bytes of one of our files; none where it is not there."""
    return _read(directory, name, size) or b""


def _line(text: bytes | records.Damage) -> Ended | Cleared | None:
    if not isinstance(text, bytes):
        return None
    try:
        found: Ended | Cleared = records.parse(text, Ended, Cleared)  # type: ignore[assignment]
    except Malformed:
        return None
    return found


def _read(directory: Directory, name: str, last: int = 1 << 30) -> bytes | None:
    """The last bytes of one of our files; None where it is not there, or has just gone."""
    if directory.lstat(name) is None:
        return None
    try:
        descriptor = directory.open(name)
    except SystemRefused:
        if directory.lstat(name) is None:
            return None
        raise
    try:
        with files.refusal("read", directory.join(name)):
            size = os.fstat(descriptor).st_size
            return os.pread(descriptor, min(size, last), max(size - last, 0))
    finally:
        os.close(descriptor)
