"""What became of each process that was moved back."""

from collections.abc import Iterable

from rich.console import RenderableType

from libswap.operations.revert import Report
from libswap.report.views.live import processes


def render(result: Report) -> Iterable[RenderableType]:
    """A table of processes."""
    yield processes(result.processes)
