"""The root of the tree of errors, and the errors that any part can meet."""

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
