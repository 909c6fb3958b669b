"""Errors of replacing files, and of going back."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


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
    """Another libswap works with the same state directory, or in the same directory."""

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
