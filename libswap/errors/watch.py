"""Errors of the watched directories."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


@dataclass(eq=False)
class InvalidConfiguration(LibswapError):
    """The configuration of the watcher cannot be followed as it is written."""

    exit_code: ClassVar[int] = 110
    path: str
    where: str
    problem: str

    @property
    def message(self) -> str:
        at = f": {self.where}" if self.where else ""
        return f"{self.path}{at}: {self.problem}"

    @property
    def hint(self) -> str:
        return "Nothing was changed. docs/reference/watch-configuration.md explains every key."


@dataclass(eq=False)
class UntrustedDrop(LibswapError):
    """Others could put files into a watched directory, or another directory in its place."""

    exit_code: ClassVar[int] = 111
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.path} is not to be trusted: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Whoever can write there decides what is installed. It, and what lies above it, must"
            " belong to root or the user of the watcher, and nobody else may write there (chown,"
            " chmod go-w)."
        )


@dataclass(eq=False)
class DropRefused(LibswapError):
    """A file in a watched directory is nothing that may be deployed."""

    exit_code: ClassVar[int] = 112
    name: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(eq=False)
class DropUnsettled(LibswapError):
    """A file in a watched directory changed or went away while it was being taken."""

    exit_code: ClassVar[int] = 113
    name: str

    @property
    def message(self) -> str:
        return f"{self.name} changed while it was being taken"


@dataclass(eq=False)
class HealthFailed(LibswapError):
    """After a deployment the machine was not well; it was taken back."""

    exit_code: ClassVar[int] = 114
    reason: str

    @property
    def message(self) -> str:
        return f"the health gate failed: {self.reason}"


@dataclass(eq=False)
class RecordUnreadable(LibswapError):
    """The record of the deployment that was under way is damaged."""

    exit_code: ClassVar[int] = 115
    path: str
    reason: str

    @property
    def message(self) -> str:
        return f"the record of the interrupted deployment, {self.path}, is damaged: {self.reason}"

    @property
    def hint(self) -> str:
        return (
            "Nothing is guessed. See with libswap history whether it was installed, move its files"
            " out of the drop directory if so, and remove the record."
        )


@dataclass(eq=False)
class NotAllDeployed(LibswapError):
    """`watch --once`: not all that was dropped is deployed, and no hour alone changes that.

    Something was rejected, or failed and was taken back; a deployment that has begun could not go
    on; too many failures have stopped a directory, there is no space, or it cannot be listed.
    """

    exit_code: ClassVar[int] = 116
    rejected: int

    @property
    def message(self) -> str:
        return f"{self.rejected} deployments were rejected or failed"
