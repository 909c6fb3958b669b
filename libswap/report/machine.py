"""Results for programs: one versioned JSON document on stdout and nothing else."""

import dataclasses
import enum
import json
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from libswap import __version__
from libswap.errors.base import LibswapError

FORMAT: Final = 1
"""Raised when a field is renamed, removed or changes its meaning; added fields do not raise it."""


class JsonReporter:
    """Prints the document that docs/reference/json-schema.json describes."""

    def __init__(self, command: str) -> None:
        self._command = command

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:  # noqa: ARG002
        """Print the result."""
        self._print({"exit_code": exit_code, "result": plain(result), "error": None})

    def refresh(self, view: str, result: object) -> None:
        """Print another document, at once."""
        self.show(view, result)
        sys.stdout.flush()

    def announce(self, view: str, plan: object) -> None:
        """Say nothing: the result holds its plan."""

    def progress(self, text: str) -> None:
        """Say nothing: a program waits for the result."""

    def note(self, text: str) -> None:
        """Say nothing: a program reads the result."""

    def error(self, error: LibswapError) -> None:
        """Print the error as the document."""
        fields = {f.name: plain(getattr(error, f.name)) for f in dataclasses.fields(error)}
        said = {"class": type(error).__name__, "message": error.message, "hint": error.hint}
        self._print(
            {"exit_code": error.exit_code, "result": None, "error": {**said, "fields": fields}}
        )

    def confirm(self, question: str) -> bool:  # noqa: ARG002  there is nobody to ask
        """No: a program that means yes says --yes."""
        return False

    def _print(self, body: Mapping[str, object]) -> None:
        head = {"format": FORMAT, "libswap": __version__, "command": self._command}
        sys.stdout.write(json.dumps({**head, **body}, indent=2) + "\n")
        sys.stdout.flush()


def plain(value: object) -> object:
    """`value` in the terms of JSON: dataclasses and named tuples by field, enums by value.

    A union of dataclasses is told apart by the "kind" that each member gets from its class name
    where the class has no field of that name.
    """
    match value:
        case None | bool() | int() | float() | str() if not isinstance(value, enum.Enum):
            return value
        case enum.Enum():
            return value.value
        case bytes():
            return value.hex()
        case PurePath():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **named}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, map(plain, value), strict=True))
    if isinstance(value, tuple | list | set | frozenset):
        return [
            plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)
        ]
    raise AssertionError(f"no JSON form for {type(value).__name__}")
