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
class ReaderGone(LibswapError):
    """Whoever read the standard output has gone, as `head` does: nothing to say, nobody to tell."""

    exit_code: ClassVar[int] = 141  # what a shell makes of an end by SIGPIPE

    @property
    def message(self) -> str:
        return "nobody reads the output any more"


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
        return f"{self.moved} processes were moved, {self.left} were not"


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
class SourceUnreadable(LibswapError):
    """The file to install is not there, or no file."""

    exit_code: ClassVar[int] = 20
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"cannot read {self.path}: {self.reason}"


@dataclass(eq=False)
class SourceChanged(LibswapError):
    """The file to install was written to while it was being installed."""

    exit_code: ClassVar[int] = 21
    path: str

    @property
    def message(self) -> str:
        return f"{self.path} changed while it was being installed"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Wait until the build or the upload is complete and run again."


@dataclass(eq=False)
class DestinationChanged(LibswapError):
    """What is to be replaced is no longer what the plan was made for."""

    exit_code: ClassVar[int] = 22
    path: str

    @property
    def message(self) -> str:
        return f"{self.path} is no longer what it was when the plan was made"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. Something else writes there, such as a package manager; "
            "run the command again to see a new plan."
        )


@dataclass(eq=False)
class NotReplaceable(LibswapError):
    """The destination is no library that a library could take the place of."""

    exit_code: ClassVar[int] = 23
    path: str
    reason: str = "it is no regular file"

    @property
    def message(self) -> str:
        return f"{self.path} cannot be replaced by a shared library: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. Name the library file itself, or the directory to install into."
        )


@dataclass(eq=False)
class SameFile(LibswapError):
    """The file to install is the very inode that it would replace."""

    exit_code: ClassVar[int] = 24
    source: str
    destination: str

    @property
    def message(self) -> str:
        return f"{self.source} and {self.destination} are the same file"

    @property
    def hint(self) -> str:
        return "Build or copy the new library elsewhere first, and install it from there."


@dataclass(eq=False)
class WrongMachine(LibswapError):
    """The new library is for another machine, class or byte order than the old."""

    exit_code: ClassVar[int] = 25
    source: str
    source_machine: str
    destination: str
    destination_machine: str

    @property
    def message(self) -> str:
        return (
            f"{self.source} is {self.source_machine}, "
            f"but {self.destination} is {self.destination_machine}"
        )

    @property
    def hint(self) -> str:
        return "Nothing was changed. No program that loads the old library could load the new one."


@dataclass(eq=False)
class DestinationProtected(LibswapError):
    """The file, its directory or its file system takes no changes."""

    exit_code: ClassVar[int] = 26
    path: str
    reason: str
    advice: str

    @property
    def message(self) -> str:
        return f"{self.path} cannot be replaced: {self.reason}"

    @property
    def hint(self) -> str:
        return f"Nothing was changed. {self.advice}"


@dataclass(eq=False)
class MountPoint(LibswapError):
    """Something is mounted on the file that is to be replaced."""

    exit_code: ClassVar[int] = 27
    path: str
    point: str
    pid: int | None

    @property
    def message(self) -> str:
        where = f" in the mount namespace of process {self.pid}" if self.pid else ""
        return f"{self.path} is a mount point ({self.point}){where}"

    @property
    def hint(self) -> str:
        if self.pid:
            return (
                "Nothing was changed. Replacing the file would silently tear that mount off; "
                "end the container first, or say --force."
            )
        return (
            "Nothing was changed. A rename cannot replace a mount point: install the library where "
            "the mounted file comes from, or umount it first."
        )


@dataclass(eq=False)
class Untrusted(LibswapError):
    """Others could change a file under our hands while we work as root."""

    exit_code: ClassVar[int] = 28
    path: str
    reason: str
    option: str

    @property
    def message(self) -> str:
        return f"{self.path} is not to be trusted: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. Take the rights away from others (chown root, chmod go-w), or "
            f"say {self.option} if you know who they are."
        )


@dataclass(eq=False)
class HardLinked(LibswapError):
    """The file has other names, which would go on standing for the old bytes."""

    exit_code: ClassVar[int] = 29
    path: str
    links: int

    @property
    def message(self) -> str:
        return f"{self.path} has {self.links} hard links; the others would keep the old library"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. Find them with find -xdev -samefile; say --force to replace only "
            "this one."
        )


@dataclass(eq=False)
class LockHeld(LibswapError):
    """Another libswap works with the same state directory."""

    exit_code: ClassVar[int] = 30
    path: str
    pid: int
    purpose: str

    @property
    def message(self) -> str:
        who = f"process {self.pid} (libswap {self.purpose})" if self.pid else "another process"
        return f"{who} holds the lock of {self.path}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Wait until it has ended and run the command again."


@dataclass(eq=False)
class JournalDamaged(LibswapError):
    """The journal of an interrupted operation is not as it was written."""

    exit_code: ClassVar[int] = 31
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"the journal {self.path} is damaged: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed and nothing is guessed. Check the libraries that were being "
            "replaced, remove files named .libswap-*.stage beside them, then: "
            "libswap recover --discard"
        )


@dataclass(eq=False)
class RecoveryStuck(LibswapError):
    """An interrupted operation can be neither finished nor undone."""

    exit_code: ClassVar[int] = 32
    operation: str
    paths: tuple[str, ...]

    @property
    def message(self) -> str:
        return (
            f"operation {self.operation} can be neither finished nor undone, because both the "
            f"prepared and the kept file are gone or damaged for: {', '.join(self.paths)}"
        )

    @property
    def hint(self) -> str:
        return "Put these libraries right by hand, then: libswap recover --discard"


@dataclass(eq=False)
class Unfinished(LibswapError):
    """A change could not be brought to its end at once; the journal keeps it."""

    exit_code: ClassVar[int] = 33
    state: str
    reason: str

    @property
    def message(self) -> str:
        return f"the change could not be completely {self.state}: {self.reason}"

    @property
    def hint(self) -> str:
        return "Every file is whole. Remove the cause and run: libswap recover"


@dataclass(eq=False)
class KeptFileDamaged(LibswapError):
    """A file that was kept for a rollback is gone or is not what was kept."""

    exit_code: ClassVar[int] = 34
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"the kept file {self.path} cannot be used: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Install the old library from where it came from."


@dataclass(eq=False)
class NothingToRollBack(LibswapError):
    """There is no such operation, or it does not hold."""

    exit_code: ClassVar[int] = 35
    what: str
    reason: str

    @property
    def message(self) -> str:
        return f"cannot roll back {self.what}: {self.reason}"

    @property
    def hint(self) -> str:
        return "libswap history lists the operations."


@dataclass(eq=False)
class SonameIsFile(LibswapError):
    """A versioned library would be installed beside a file that has its SONAME."""

    exit_code: ClassVar[int] = 36
    path: str
    source: str

    @property
    def message(self) -> str:
        return f"{self.path} is a file and no link, so {self.source} beside it would not be loaded"

    @property
    def hint(self) -> str:
        return (
            f"Nothing was changed. To replace that file: libswap install {self.source} {self.path}"
        )


@dataclass(eq=False)
class NotConfirmed(LibswapError):
    """The plan was not agreed to."""

    exit_code: ClassVar[int] = 37
    command: str

    @property
    def message(self) -> str:
        return f"{self.command}: not confirmed, nothing was changed"

    @property
    def hint(self) -> str:
        return "Say --yes to agree beforehand, --dry-run to see the plan."


@dataclass(eq=False)
class Incompatible(LibswapError):
    """The new library cannot stand in for the old."""

    exit_code: ClassVar[int] = 38
    source: str
    destination: str
    findings: tuple[str, ...]

    @property
    def message(self) -> str:
        shown = "; ".join(self.findings[:5])
        more = f"; and {len(self.findings) - 5} more" if len(self.findings) > 5 else ""
        return f"{self.source} cannot stand in for {self.destination}: {shown}{more}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. libswap check OLD NEW shows all; --force installs it anyway."


@dataclass(eq=False)
class UntrustedState(LibswapError):
    """Others could write to the state directory."""

    exit_code: ClassVar[int] = 39
    path: str

    @property
    def message(self) -> str:
        return f"the state directory {self.path} belongs to, or can be written to by, others"

    @property
    def hint(self) -> str:
        return (
            f"Nothing was changed. Give it back: chown $(id -un) {self.path}; chmod 700 {self.path}"
        )


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
            words += f" Not looked at, for lack of permission: {self.uninspected} processes."
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


@dataclass(eq=False)
class InvalidObject(LibswapError):
    """A file that should be a compiler's relocatable object is not one, or is damaged."""

    exit_code: ClassVar[int] = 90
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.path} is not an object that a patch can be made of: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "A patch is made of what a compiler writes with -c, for example: cc -O2 -fPIC -c fix.c"
        )


@dataclass(eq=False)
class SymbolsUnresolved(LibswapError):
    """Symbols that a patch uses are not in its target, or stand for several things there."""

    exit_code: ClassVar[int] = 91
    target: str
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"the patch does not fit {self.target}: {'; '.join(self.problems)}"

    @property
    def hint(self) -> str:
        return (
            "Names of static functions and variables need the target's symbols: give the file that"
            " was not stripped, or install its debug symbols. Say --use NAME=TARGET_NAME@file.c"
            " where a name means several things, --library FILE where it comes from a library."
        )


@dataclass(eq=False)
class PatchUnlinkable(LibswapError):
    """A place in a patch cannot hold the value that belongs there."""

    exit_code: ClassVar[int] = 92
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"the patch cannot be linked: {'; '.join(self.problems)}"

    @property
    def hint(self) -> str:
        return "Compile it with -fPIC, which reaches everything from everywhere."


@dataclass(eq=False)
class PatchRefused(LibswapError):
    """A patch would not do what it should, or would break its target."""

    exit_code: ClassVar[int] = 93
    target: str
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"the patch would not be safe in {self.target}: {'; '.join(self.problems)}"

    @property
    def hint(self) -> str:
        return "Where only a risk is named, --force takes it. Nothing was changed."


@dataclass(eq=False)
class InvalidPatch(LibswapError):
    """A patch file is damaged, or is none."""

    exit_code: ClassVar[int] = 94
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.path} is not a usable patch file: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. Copy it again, or build it again with: libswap patch build"


@dataclass(eq=False)
class NothingToReplace(LibswapError):
    """No function of an object is one of the target's."""

    exit_code: ClassVar[int] = 95
    target: str
    functions: tuple[str, ...]
    clones: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        mine = ", ".join(self.functions[:8]) or "no function at all"
        theirs = f", the target has only {', '.join(self.clones[:8])}" if self.clones else ""
        return f"nothing in {self.target} would be replaced: the object defines {mine}{theirs}"

    @property
    def hint(self) -> str:
        return (
            "By default the functions that both have under one name are replaced. Say"
            " --replace OLD=NEW for others; a stripped target needs its debug symbols."
        )


@dataclass(eq=False)
class CompilerFailed(LibswapError):
    """The compiler refused a source file."""

    exit_code: ClassVar[int] = 96
    source: str
    said: str

    @property
    def message(self) -> str:
        return f"the compiler refused {self.source}"

    @property
    def hint(self) -> str:
        return self.said


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


@dataclass(eq=False)
class PatchMismatch(LibswapError):
    """A patch was made for another build than the process runs."""

    exit_code: ClassVar[int] = 97
    pid: int
    target: str
    build_id: str
    found: str

    @property
    def message(self) -> str:
        return f"process {self.pid} does not run {self.target} {self.build_id[:16]}: {self.found}"

    @property
    def hint(self) -> str:
        return "It goes on as before. Build the patch against the very file that it runs."


@dataclass(eq=False)
class EntryChanged(LibswapError):
    """A function that a patch replaces does not begin as it should."""

    exit_code: ClassVar[int] = 98
    pid: int
    function: str
    expected: bytes
    found: bytes

    @property
    def message(self) -> str:
        return (
            f"{self.function} in process {self.pid} begins with {self.found.hex(' ')}"
            f" and not with {self.expected.hex(' ')}"
        )

    @property
    def hint(self) -> str:
        return (
            "It goes on as before. A debugger, a tracer, another patcher or a swap has changed it;"
            " libswap status shows what libswap did."
        )


@dataclass(eq=False)
class PatchCallFailed(LibswapError):
    """A function that a patch brings along, or that the work needs, failed in the target."""

    exit_code: ClassVar[int] = 99
    pid: int
    function: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.function} failed in process {self.pid}: {self.reason}"

    @property
    def hint(self) -> str:
        return "The process goes on with its old functions."


@dataclass(eq=False)
class PatchNotRevertible(LibswapError):
    """A patch cannot be taken back now because another stands on it."""

    exit_code: ClassVar[int] = 100
    pid: int
    patch: str
    reason: str

    @property
    def message(self) -> str:
        return f"patch {self.patch} of process {self.pid} cannot be taken back: {self.reason}"

    @property
    def hint(self) -> str:
        return "Take the later one back first: libswap patch list shows their order."


@dataclass(eq=False)
class NoSuchPatch(LibswapError):
    """A process carries no patch of that name."""

    exit_code: ClassVar[int] = 101
    pid: int
    patch: str

    @property
    def message(self) -> str:
        return f"process {self.pid} carries no patch {self.patch}".rstrip()

    @property
    def hint(self) -> str:
        return "libswap patch list shows what it carries."


@dataclass(eq=False)
class PatchDamaged(LibswapError):
    """Bytes of a patch in a process are not what they were when it was applied."""

    exit_code: ClassVar[int] = 102
    pid: int
    places: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"process {self.pid} does not hold its patches as applied: {'; '.join(self.places)}"


@dataclass(eq=False)
class SymbolNotLoaded(LibswapError):
    """A process has no module that exports what a patch needs."""

    exit_code: ClassVar[int] = 103
    pid: int
    symbol: str

    @property
    def message(self) -> str:
        return f"no module of process {self.pid} exports {self.symbol}, which the patch needs"
