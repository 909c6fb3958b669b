"""Errors of function patches."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


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
