"""What every command is handed: a reporter for its result, chosen before the words are parsed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Self

from libswap.errors.base import LibswapError, ReaderGone
from libswap.report.reporter import Reporter

if TYPE_CHECKING:
    import typer

GROUPS: Final = ("fleet", "handles", "patch")
"""The commands that are made of others, each a typer application of its own."""


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command line.

    Attributes:
        reporter: shows the result.
        failure: the exit code of whatever goes wrong, where the caller knows no other.
    """

    reporter: Reporter
    failure: int | None = None

    @classmethod
    def of(cls, words: list[str]) -> Self:
        """The session for these words.

        `--json` counts even when another word is wrong, so that the error is a document too.
        """
        options = words[: words.index("--")] if "--" in words else words
        command = _command(options)
        if "--json" in options:
            from libswap.report.machine import JsonReporter

            return cls(JsonReporter(command))
        if "--nagios" in options and command == "scan":
            from libswap.operations.alarm import Level
            from libswap.report.nagios import NagiosReporter

            return cls(NagiosReporter(), Level.UNKNOWN)
        from libswap.report.console import ConsoleReporter

        return cls(ConsoleReporter())

    def answer(self, act: Callable[[], int]) -> int:
        """Do what was asked for, and say what stops it.

        Returns:
            The exit code; docs/reference/exit-codes.md says what each stands for.
        """
        try:
            return act()
        except ReaderGone as gone:
            return self._failed(gone.exit_code)
        except LibswapError as error:
            return self._tell(error)
        except KeyboardInterrupt:
            return self._failed(130)
        except Exception:
            if self.failure is None:
                raise
            sys.excepthook(*sys.exc_info())  # ours to report, theirs to know that nothing is known
            return self.failure

    def _tell(self, error: LibswapError) -> int:
        """Say it; where a document cannot be written, that is what stopped us."""
        try:
            self.reporter.error(error)
        except LibswapError as refused:
            return self._failed(refused.exit_code)
        return self._failed(error.exit_code)

    def _failed(self, exit_code: int) -> int:
        return exit_code if self.failure is None else self.failure


def _command(words: list[str]) -> str:
    """The command that these words name: "scan", or "patch apply" of a group."""
    named = [word for word in words if not word.startswith("-")]
    if named[:1] and named[0] in GROUPS:
        app = import_module(f"libswap.cli.{named[0]}").app
        within = {one.name or one.callback.__name__ for one in app.registered_commands}
        return " ".join([named[0], *(word for word in named[1:2] if word in within)])
    return named[0] if named else ""


def reporter_of(context: "typer.Context") -> Reporter:
    """The reporter of the run that this command belongs to."""
    session = context.obj
    assert isinstance(session, Session)  # noqa: S101  run() always hands one over
    return session.reporter
