"""Everything the world can do to us, as one tree of errors.

Each class builds its message from typed fields and carries its own exit code and a hint: what it
means, why, and what to type next. Only the command line turns an error into words on a terminal.
Our own mistakes are `AssertionError` or `RuntimeError` and never stand here.
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(eq=False)
class LibswapError(Exception):
    """The world did something that stops the work; nothing has been lost."""

    exit_code: ClassVar[int]

    @property
    def message(self) -> str:
        """One sentence: what happened, with the names it happened to."""
        raise NotImplementedError

    @property
    def hint(self) -> str:
        """What to do next; empty where the message says it all."""
        return ""

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class UsageError(LibswapError):
    """The words of the command do not make sense together."""

    exit_code: ClassVar[int] = 2
    problem: str
    advice: str = ""

    @property
    def message(self) -> str:
        return self.problem

    @property
    def hint(self) -> str:
        return self.advice


@dataclass(eq=False)
class InvalidElf(LibswapError):
    """A file that should be a shared library is not one, or is damaged."""

    exit_code: ClassVar[int] = 3
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.path} is not a usable shared library: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Check the build or the download, for example with: readelf -h"


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
class SystemRefused(LibswapError):
    """The kernel refused a call that the work cannot do without."""

    exit_code: ClassVar[int] = 17
    action: str
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"cannot {self.action} {self.path}: {self.reason}"


@dataclass(eq=False)
class MissingTool(LibswapError):
    """A program or an optional package that this work needs is not installed."""

    exit_code: ClassVar[int] = 16
    tool: str
    purpose: str
    install: str

    @property
    def message(self) -> str:
        return f"{self.tool} is needed to {self.purpose} and is not installed"

    @property
    def hint(self) -> str:
        return f"Install it: {self.install}"


@dataclass(eq=False)
class ProgramFailed(LibswapError):
    """A program that libswap runs could not be started, hung, or did not do its work."""

    exit_code: ClassVar[int] = 18
    program: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.program} did not do its work: {self.reason}"


@dataclass(eq=False)
class NoSpace(LibswapError):
    """A file system is full, or will be before the work is done."""

    exit_code: ClassVar[int] = 19
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"no space for {self.path}: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Make room (df -h, libswap prune) and run the command again."


@dataclass(eq=False)
class ProcessGone(LibswapError):
    """A process ended, or another one has its PID by now."""

    exit_code: ClassVar[int] = 40
    pid: int

    @property
    def message(self) -> str:
        return f"process {self.pid} has ended"


@dataclass(eq=False)
class ProcessUnreadable(LibswapError):
    """The kernel does not let us look at a process."""

    exit_code: ClassVar[int] = 41
    pid: int
    reason: str

    @property
    def message(self) -> str:
        return f"process {self.pid} cannot be looked at: {self.reason}"

    @property
    def hint(self) -> str:
        return "Run as root, or as the user that the process belongs to."


@dataclass(eq=False)
class MemoryUnreachable(LibswapError):
    """A range of a process's memory is not mapped, or may not be written."""

    exit_code: ClassVar[int] = 60
    pid: int
    address: int
    size: int

    @property
    def message(self) -> str:
        return f"process {self.pid} has no usable memory at {self.address:#x} ({self.size} bytes)"


@dataclass(eq=False)
class ThreadUnstoppable(LibswapError):
    """A thread did not come to a stop in time, as in an uninterruptible wait of the kernel."""

    exit_code: ClassVar[int] = 61
    pid: int
    tid: int
    state: str

    @property
    def message(self) -> str:
        return f"thread {self.tid} of process {self.pid} (state {self.state}) could not be stopped"

    @property
    def hint(self) -> str:
        return (
            "It goes on as before. State D is a wait inside the kernel (disk, network file system,"
            f" vfork, a frozen cgroup): cat /proc/{self.pid}/task/{self.tid}/wchan names it."
            " Try again when it has passed."
        )


@dataclass(eq=False)
class ProcessReplaced(LibswapError):
    """A process executed another program while it was worked on."""

    exit_code: ClassVar[int] = 62
    pid: int

    @property
    def message(self) -> str:
        return f"process {self.pid} now runs another program (execve)"

    @property
    def hint(self) -> str:
        return "The new program loads the libraries that are on disk now; nothing is left to do."


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
            " EACCES or EPERM: SELinux execmem, MemoryDenyWriteExecute). It is as it was."
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
