"""Errors of looking at a process, and of holding it still."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


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
class NobodyMaps(LibswapError):
    """A name that was asked for is no file, and nothing that is mapped had it."""

    exit_code: ClassVar[int] = 42
    path: str
    uninspected: int

    @property
    def message(self) -> str:
        return f"{self.path}: there is no such file, and no process maps one that had this name"

    @property
    def hint(self) -> str:
        words = "Give the path of a library, or a bare name such as libz.so.1."
        if self.uninspected:
            some = "process" if self.uninspected == 1 else "processes"
            words += f" {self.uninspected} {some} could not be looked at, for lack of permission."
        return words


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
class ProcessZombie(LibswapError):
    """A process has ended; only its entry in the process table is left."""

    exit_code: ClassVar[int] = 70
    pid: int
    parent: int

    @property
    def message(self) -> str:
        return f"process {self.pid} is a zombie: it has ended, and its parent has not taken note"

    @property
    def hint(self) -> str:
        return f"It maps no library any more. Its parent is process {self.parent}."


@dataclass(eq=False)
class TracedByAnother(LibswapError):
    """A process has a tracer already, and the kernel allows one."""

    exit_code: ClassVar[int] = 71
    pid: int
    tracer: int
    name: str

    @property
    def message(self) -> str:
        return f"process {self.pid} is traced by process {self.tracer} ({self.name})"

    @property
    def hint(self) -> str:
        return "Nothing was touched. End that (gdb, strace, another libswap) and try again."


@dataclass(eq=False)
class TracingForbidden(LibswapError):
    """We may not trace a process."""

    exit_code: ClassVar[int] = 72
    pid: int
    reason: str

    @property
    def message(self) -> str:
        return f"process {self.pid} may not be traced: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was touched. Run as root in the initial user namespace; where even that is"
            " forbidden, restart the process to move it onto the new library."
        )


@dataclass(eq=False)
class WrongProgramClass(LibswapError):
    """A process runs no 64-bit x86-64 program."""

    exit_code: ClassVar[int] = 73
    pid: int
    program_class: str

    @property
    def message(self) -> str:
        return f"process {self.pid} runs a {self.program_class} program; live mode knows x86-64"

    @property
    def hint(self) -> str:
        return "Nothing was touched. Restart the process to move it onto the new library."


@dataclass(eq=False)
class ShadowStackActive(LibswapError):
    """A process uses user shadow stacks, which a borrowed thread would break."""

    exit_code: ClassVar[int] = 74
    pid: int

    @property
    def message(self) -> str:
        return f"process {self.pid} runs with a user shadow stack (CET)"

    @property
    def hint(self) -> str:
        return (
            "Nothing was touched. Restart the process; started with"
            " GLIBC_TUNABLES=glibc.cpu.x86_shstk=off it can be changed live next time."
        )


@dataclass(eq=False)
class SeccompForbids(LibswapError):
    """A seccomp filter of the target forbids what would have to be done in it."""

    exit_code: ClassVar[int] = 75
    pid: int
    reason: str

    @property
    def message(self) -> str:
        return f"process {self.pid} is confined by seccomp: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was touched. Run as root, or restart the process."


@dataclass(eq=False)
class TargetBusy(LibswapError):
    """Another libswap is at work in the same process."""

    exit_code: ClassVar[int] = 76
    pid: int

    @property
    def message(self) -> str:
        return f"another libswap is at work in process {self.pid}"

    @property
    def hint(self) -> str:
        return "Nothing was touched. Try again when it is done."
