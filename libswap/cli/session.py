"""What every command is handed: a reporter for its result, chosen before the words are parsed."""

from dataclasses import dataclass
from typing import Self

import typer

from libswap.report.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line."""

    reporter: Reporter

    @classmethod
    def of(cls, words: list[str]) -> Self:
        """The session for these words.

        `--json` counts even when another word is wrong, so that the error is a document too.
        """
        options = words[: words.index("--")] if "--" in words else words
        command = next((word for word in words if not word.startswith("-")), "")
        if "--json" in options:
            from libswap.report.machine import JsonReporter

            return cls(JsonReporter(command))
        from libswap.report.console import ConsoleReporter

        return cls(ConsoleReporter())


def reporter_of(context: typer.Context) -> Reporter:
    """The reporter of the run that this command belongs to."""
    session = context.obj
    assert isinstance(session, Session)  # noqa: S101  run() always hands one over
    return session.reporter
