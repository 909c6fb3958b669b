"""Options that several commands share, each with its one help text."""

import shlex
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from libswap.errors.base import UsageError

Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Print the plan and change nothing.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before acting.")]
StateDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Journal, history and kept files. [default: /var/lib/libswap, or the XDG state home]",
        file_okay=False,
    ),
]
Wait: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--wait",
        min=0,
        metavar="SECONDS",
        help="How long to wait for another libswap. [default: 30]",
    ),
]


def words(option: str, text: str) -> tuple[str, ...]:
    """The words of a command that an option holds, split as a shell does.

    Args:
        option: as it is said, for the error.
        text: the command.

    Raises:
        UsageError: a quotation has no end.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def command_of(option: str, text: str | None) -> tuple[str, ...]:
    """The command that an option asks to be run; none where the option was not said.

    Raises:
        UsageError: there is no word in it, or a quotation has no end.
    """
    if text is None:
        return ()
    found = words(option, text)
    if not found:
        raise UsageError(f"{option} names no command", "A variable of the shell may be unset.")
    return found
