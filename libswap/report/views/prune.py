"""What goes from the store."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.prune import Plan
from libswap.report.views.changes import size


def render(result: Plan) -> Iterable[RenderableType]:
    """A line for each kept file, and the sum."""
    for entry in result.entries:
        yield Text(f"  {entry.name}  {size(entry.size)}")
    yield Text(
        f"{len(result.entries)} kept files ({size(result.size)}) go, {result.remaining} stay."
    )
