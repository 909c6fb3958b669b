"""What every command is handed: a reporter for its result, chosen before the words are parsed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from libswap.errors.base import LibswapError, ReaderGone
from libswap.report.reporter import Reporter

if TYPE_CHECKING:
    import typer


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

    def answer(self, act: Callable[[], int]) -> int:
        """Do what was asked for, and say what stops it.

        Returns:
            The exit code; docs/reference/exit-codes.md says what each stands for.
        """
        try:
            return act()
        except ReaderGone as gone:
            return gone.exit_code
        except LibswapError as error:
            return self._tell(error)
        except KeyboardInterrupt:
            return 130

    def _tell(self, error: LibswapError) -> int:
        """Say it; where a document cannot be written, that is what stopped us."""
        try:
            self.reporter.error(error)
        except LibswapError as refused:
            return refused.exit_code
        return error.exit_code


def reporter_of(context: "typer.Context") -> Reporter:
    """The reporter of the run that this command belongs to."""
    session = context.obj
    assert isinstance(session, Session)  # noqa: S101  run() always hands one over
    return session.reporter
