"""What every way of showing a result can do."""

from typing import Protocol

from libswap.errors.base import LibswapError


class Reporter(Protocol):
    """Shows one command's plan, result or error; decides nothing."""

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:
        """Show what an operation returned.

        Args:
            view: the module libswap.report.views.<view> that lays it out for people.
            result: the operation's frozen dataclass.
            exit_code: what the command will exit with.
        """

    def refresh(self, view: str, result: object) -> None:
        """Show a result in the place of the one before; programs get one document after another."""

    def announce(self, view: str, plan: object) -> None:
        """Show a person what is about to be done; programs find the plan in the result."""

    def progress(self, text: str) -> None:
        """Say what is being done right now, in the place of what was said so before."""

    def note(self, text: str) -> None:
        """Say something to a person while the work goes on; programs never see it."""

    def error(self, error: LibswapError) -> None:
        """Say what stopped the work, and what to do next."""

    def confirm(self, question: str) -> bool:
        """Ask a person; without one (no terminal, JSON) the answer is no."""
