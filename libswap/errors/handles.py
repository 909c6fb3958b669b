"""Errors of draining: descriptions of handles, and objects that are left."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


@dataclass(eq=False)
class HandlesInvalid(LibswapError):
    """A description of a library's handles cannot be understood."""

    exit_code: ClassVar[int] = 120
    file: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.file}: {self.problem}"

    @property
    def hint(self) -> str:
        return "docs/reference/handles.md tells the format."


@dataclass(eq=False)
class HandlesUnknown(LibswapError):
    """Nobody has described the handles of a library."""

    exit_code: ClassVar[int] = 121
    library: str

    @property
    def message(self) -> str:
        return f"no description tells which functions of {self.library} make and take its objects"

    @property
    def hint(self) -> str:
        return (
            "Nothing was changed. `libswap handles draft LIB` makes a first one; check it and give"
            " it with --handles FILE."
        )


@dataclass(eq=False)
class NotDrained(LibswapError):
    """Objects that the old code made are left, or may be."""

    exit_code: ClassVar[int] = 122
    pid: int
    left: int
    doubts: tuple[str, ...]

    @property
    def message(self) -> str:
        if self.left:
            return f"process {self.pid} still has {self.left} objects of the old copy"
        return f"process {self.pid} may still have objects of the old copy: {self.doubts[0]}"


@dataclass(eq=False)
class PrototypesMissing(LibswapError):
    """Nothing tells what a library's functions take and return."""

    exit_code: ClassVar[int] = 123
    library: str

    @property
    def message(self) -> str:
        return f"nothing tells what the functions of {self.library} take"

    @property
    def hint(self) -> str:
        return "Name its headers (--header), or install its debug symbols (-dbgsym)."
