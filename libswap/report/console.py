"""Results for people: rich tables on stdout, messages and errors on stderr."""

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, TextIO

from libswap.errors.base import LibswapError
from libswap.report import output
from libswap.report.line import Line
from libswap.report.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

_PIPE_COLUMNS: Final = 240
"""Wide enough to leave a row on one line, where grep finds all of it."""
_MOST_LINES: Final = 40
_TERMINAL: Final = ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")
"""What makes rich take a pipe for a terminal, or gives it a width."""


class ConsoleReporter:
    """A terminal, a pipe or a log; rich honours NO_COLOR, TERM=dumb, COLUMNS and what is no tty."""

    def __init__(self) -> None:
        self._in_progress = False

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:  # noqa: ARG002
        """Lay the result out with `libswap.report.views.<view>.render`."""
        self._clear_progress()
        console, is_laid_out = None, _is_laid_out(sys.stdout)
        for part in _parts(view, result):
            if isinstance(part, Line) and not is_laid_out:
                sys.stdout.write(f"{part.text}\n")
            else:
                console = console or _console(stderr=False)
                console.print(part)
        sys.stdout.flush()

    def refresh(self, view: str, result: object) -> None:
        """Clear a terminal first; in a pipe or a log, one result follows another."""
        if sys.stdout.isatty():
            _console(stderr=False).clear()
        self.show(view, result)

    def announce(self, view: str, plan: object) -> None:
        """Lay the plan out on stderr."""
        if sys.stderr is None:
            return
        console = _console(stderr=True)
        with suppress(OSError):  # as output.say: there is nobody to tell
            for part in _parts(view, plan):
                console.print(part)

    def progress(self, text: str) -> None:
        """Keep one line of a terminal up to date; a pipe or a log gets none."""
        if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
        self._clear_progress()
        output.say(printable(text)[: max(columns - 1, 0)])
        self._in_progress = True

    def _clear_progress(self) -> None:
        if self._in_progress:
            output.say("\r\x1b[2K")
            self._in_progress = False

    def note(self, text: str) -> None:
        """Print a line to stderr."""
        self._clear_progress()
        output.say(f"{printable(text)}\n")

    def error(self, error: LibswapError) -> None:
        """Print the message and, below it, the hint, to stderr."""
        self._clear_progress()
        output.say(f"libswap: {printable(error.message)}\n")
        for line in error.hint.splitlines()[:_MOST_LINES]:
            output.say(f"  {printable(line)}\n")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; no terminal, or no answer, is a no."""
        if sys.stdin is None or not sys.stdin.isatty():
            return False
        output.say(f"{printable(question)} [y/N] ")
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _parts(view: str, result: object) -> "Iterable[RenderableType]":
    parts: Iterable[RenderableType] = import_module(f"libswap.report.views.{view}").render(result)
    return parts


def _is_laid_out(stream: TextIO) -> bool:
    """Whether lines have a width and colours: on a terminal, and where the environment says so."""
    return stream.isatty() or any(map(os.environ.get, _TERMINAL))


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console  # noqa: PLC0415  costs more than most commands

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_COLUMNS
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)
