"""What the watcher of drop directories does with files: facts, as they are recorded and shown."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from libswap.errors.watch import NotAllDeployed
from libswap.install.transaction import Affected
from libswap.linux.files import FileId


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
        left: whether something of it could not be moved out of the drop directory.
    """

    deployment: Deployment
    outcome: Outcome
    reason: str
    operation: str | None
    rollback: str | None
    ended: float
    remarks: tuple[str, ...] = ()
    left: bool = False


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
        held: drop directories from which nothing, or no more, would be deployed for now, each
            with the reason.
        begun: the files of a deployment that was broken off, which is gone on with first.
    """

    files: tuple[Foreseen, ...]
    waiting: tuple[str, ...]
    held: tuple[tuple[str, str], ...] = ()
    begun: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """What `watch --once` did.

    Attributes:
        ended: the deployments, in their order.
        waiting: what is not finished, or waits for something: the next time.
        postponed: why a deployment that has begun could not go on; "" where none is left.
        held: drop directories of which nothing is deployed for now, each with the reason.
        stopped: those of them that too many failures have stopped, until a person looks after it.
        troubled: those of them that no hour frees: no space, or a directory that cannot be listed.
    """

    ended: tuple[Ended, ...]
    waiting: tuple[str, ...]
    postponed: str = ""
    held: tuple[tuple[str, str], ...] = ()
    stopped: tuple[str, ...] = ()
    troubled: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 where all is deployed, or will be in time; docs/reference/exit-codes.md."""
        bad = any(e.outcome is not Outcome.DEPLOYED for e in self.ended)
        kept = self.stopped or self.troubled or self.postponed
        return NotAllDeployed.exit_code if bad or kept else 0


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
