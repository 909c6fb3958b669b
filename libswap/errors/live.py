"""Errors of moving a process onto other code."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


@dataclass(eq=False)
class LinkMapUnreadable(LibswapError):
    """What the dynamic linker keeps in a process cannot be found or followed."""

    exit_code: ClassVar[int] = 80
    reason: str

    @property
    def message(self) -> str:
        return f"the list of loaded libraries cannot be read: {self.reason}"

    @property
    def hint(self) -> str:
        return "The process was not touched. Restart it to have it use the new library."


@dataclass(eq=False)
class NotSwappable(LibswapError):
    """A process, or a library in it, is of a kind that cannot be changed while it runs."""

    exit_code: ClassVar[int] = 81
    word: str
    reason: str
    instead: str

    @property
    def message(self) -> str:
        return f"{self.word}: {self.reason}"

    @property
    def hint(self) -> str:
        return f"Nothing was changed. What works: {self.instead}." if self.instead else ""


@dataclass(eq=False)
class RecordDamaged(LibswapError):
    """The record of earlier swaps that a process carries cannot be trusted."""

    exit_code: ClassVar[int] = 82
    pid: int
    reason: str

    @property
    def message(self) -> str:
        return f"the record of earlier swaps in process {self.pid} is damaged: {self.reason}"

    @property
    def hint(self) -> str:
        return "The process was not touched and goes on as it is. Restart it to change anything."


@dataclass(eq=False)
class LoadFailed(LibswapError):
    """The new library could not be loaded in a process."""

    exit_code: ClassVar[int] = 83
    pid: int
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"process {self.pid} cannot load {self.path}: {self.reason}"

    @property
    def hint(self) -> str:
        return "It goes on with the old library."


@dataclass(eq=False)
class NothingSwapped(LibswapError):
    """There is nothing to take back."""

    exit_code: ClassVar[int] = 84
    pid: int
    what: str = ""

    @property
    def message(self) -> str:
        return f"process {self.pid} has no {self.what or 'swapped library'} to take back"


@dataclass(eq=False)
class NotAllMoved(LibswapError):
    """Some processes were moved onto the new library and some were not."""

    exit_code: ClassVar[int] = 85
    moved: int
    left: int

    @property
    def message(self) -> str:
        return f"processes moved: {self.moved}; not moved: {self.left}"


@dataclass(eq=False)
class RehearsalFailed(LibswapError):
    """A swap was tried in a copy of the process, and failed there; the process is untouched."""

    exit_code: ClassVar[int] = 88
    pid: int
    reason: str

    @property
    def message(self) -> str:
        return f"in a copy of process {self.pid} the swap failed: {self.reason}"

    @property
    def hint(self) -> str:
        return "The process goes on with the old library."


@dataclass(eq=False)
class CheckFailed(LibswapError):
    """The user's check failed after a process was moved; the installation was taken back."""

    exit_code: ClassVar[int] = 87
    reason: str

    @property
    def message(self) -> str:
        return f"the check failed and the installation was taken back: {self.reason}"


@dataclass(eq=False)
class AbiBroken(LibswapError):
    """Programs that use the old library can fail with the new one."""

    exit_code: ClassVar[int] = 86
    library: str
    findings: tuple[str, ...]

    @property
    def message(self) -> str:
        more = f" and {len(self.findings) - 3} more" if len(self.findings) > 3 else ""
        return f"{self.library} is incompatible: {'; '.join(self.findings[:3])}{more}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Rebuild the programs that use it, then restart them."


@dataclass(eq=False)
class ObjectsUnsafe(LibswapError):
    """Objects that the old library made are not what the new one takes them for."""

    exit_code: ClassVar[int] = 104
    library: str
    evidence: tuple[str, ...]

    @property
    def message(self) -> str:
        more = f" and {len(self.evidence) - 3} more" if len(self.evidence) > 3 else ""
        shown = "; ".join(self.evidence[:3])
        return f"live objects do not survive a swap to {self.library}: {shown}{more}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. libswap check --live OLD NEW shows all. What works: --drain,"
            " which leaves old objects to the old code; a restart of the process (libswap scan"
            " names its unit); or --force, if it has no such objects."
        )


@dataclass(eq=False)
class ObjectsUnknown(LibswapError):
    """Whether objects that the old library made survive in the new one could not be found out."""

    exit_code: ClassVar[int] = 105
    library: str
    evidence: tuple[str, ...]

    @property
    def message(self) -> str:
        shown = "; ".join(self.evidence[:3])
        return f"it is not known whether live objects survive a swap to {self.library}: {shown}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. libswap check --live OLD NEW shows why. Say --accept-unknown to"
            " go on, with --rehearse to try it in a copy first; or restart the process."
        )


@dataclass(eq=False)
class NoRoomForCode(LibswapError):
    """No executable segment of a process has unused bytes at its end for our first step."""

    exit_code: ClassVar[int] = 63
    pid: int
    needed: int
    largest: int

    @property
    def message(self) -> str:
        return (
            f"process {self.pid} has no executable page with {self.needed} unused bytes"
            f" (the most is {self.largest})"
        )

    @property
    def hint(self) -> str:
        return "Nothing was touched. Restart the process to move it onto the new library."


@dataclass(eq=False)
class NoSafeThread(LibswapError):
    """At no time was there a thread that could safely be asked to run something."""

    exit_code: ClassVar[int] = 64
    pid: int
    seconds: float
    reasons: tuple[str, ...]

    @property
    def message(self) -> str:
        why = "; ".join(self.reasons[:4]) or "it had no thread that stopped"
        return f"no thread of process {self.pid} could be borrowed in {self.seconds:.1f} s: {why}"

    @property
    def hint(self) -> str:
        return "It goes on as before. Try again with a longer --wait, or when it is less busy."


@dataclass(eq=False)
class RemoteCallRefused(LibswapError):
    """A system call that the work needs failed inside the target."""

    exit_code: ClassVar[int] = 65
    pid: int
    call: str
    reason: str

    @property
    def message(self) -> str:
        return f"process {self.pid} may not do {self.call}: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Its limits or security filters forbid it (ENOMEM: RLIMIT_AS or memory overcommit;"
            " EAGAIN: RLIMIT_MEMLOCK after mlockall(2), raise it with prlimit(1);"
            " EACCES or EPERM: SELinux execmem, MemoryDenyWriteExecute). It is as it was."
        )


@dataclass(eq=False)
class ScratchTaken(LibswapError):
    """A process unmapped the memory in which its borrowed thread worked."""

    exit_code: ClassVar[int] = 69
    pid: int

    @property
    def message(self) -> str:
        return f"process {self.pid} unmapped the memory in which a thread of it worked for libswap"

    @property
    def hint(self) -> str:
        return (
            "Its code was not changed. It does so to memory that it does not know; restart it to"
            " have it use the new library."
        )


@dataclass(eq=False)
class CommitBlocked(LibswapError):
    """Some thread was inside of the code to be changed at every moment that was tried."""

    exit_code: ClassVar[int] = 66
    pid: int
    seconds: float
    blockers: tuple[str, ...]

    @property
    def message(self) -> str:
        why = "; ".join(self.blockers[:4])
        return f"process {self.pid} had no safe moment in {self.seconds:.1f} s: {why}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. Wait longer (--wait SECONDS), or let the calls that are running"
            " end in the old code (--relaxed)."
        )


@dataclass(eq=False)
class CommitConflict(LibswapError):
    """Memory of the target does not hold what the plan was made for."""

    exit_code: ClassVar[int] = 67
    pid: int
    address: int
    expected: bytes
    found: bytes

    @property
    def message(self) -> str:
        return (
            f"process {self.pid} holds {self.found[:16].hex()} at {self.address:#x}"
            f" instead of {self.expected[:16].hex()}"
        )

    @property
    def hint(self) -> str:
        return "Somebody else changed it since the plan was made. Nothing was changed; try again."


@dataclass(eq=False)
class CommitUndoFailed(LibswapError):
    """A commit failed half way, and so did taking it back: the record in the target is kept."""

    exit_code: ClassVar[int] = 68
    pid: int
    address: int

    @property
    def message(self) -> str:
        return f"process {self.pid} could not be put back at {self.address:#x} after a fault"

    @property
    def hint(self) -> str:
        return f"What was written runs correctly as it is. Then: libswap revert {self.pid}"
