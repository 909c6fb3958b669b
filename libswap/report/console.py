"""Results for people: rich tables on stdout, messages and errors on stderr."""

import sys
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from libswap.errors import LibswapError
from libswap.report.text import printable

if TYPE_CHECKING:
    from rich.console import Console


class ConsoleReporter:
    """A terminal, a pipe or a log; rich honours NO_COLOR, TERM=dumb, COLUMNS and what is no tty."""

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:  # noqa: ARG002
        """Lay the result out with `libswap.report.views.<view>.render`."""
        for part in import_module(f"libswap.report.views.{view}").render(result):
            self._out.print(part)

    def announce(self, view: str, plan: object) -> None:
        """Lay the plan out on stderr."""
        for part in import_module(f"libswap.report.views.{view}").render(plan):
            self._err.print(part)

    def note(self, text: str) -> None:
        """Print a line to stderr."""
        sys.stderr.write(f"{printable(text)}\n")

    def error(self, error: LibswapError) -> None:
        """Print the message and, below it, the hint, to stderr."""
        sys.stderr.write(f"libswap: {printable(error.message)}\n")
        if error.hint:
            sys.stderr.write(f"  {printable(error.hint)}\n")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; no terminal, or no answer, is a no."""
        if not sys.stdin.isatty():
            return False
        sys.stderr.write(f"{printable(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @cached_property
    def _out(self) -> "Console":
        return _console(stderr=False)

    @cached_property
    def _err(self) -> "Console":
        return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console  # noqa: PLC0415  costs more than most commands

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty(), markup=False)
