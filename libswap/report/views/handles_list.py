"""The descriptions of handles that there are."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table

from libswap.operations.handles import Listed
from libswap.report.text import printable


def render(result: Listed) -> Iterable[RenderableType]:
    """A row for each."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "libraries", "functions and patterns"):
        table.add_column(heading, overflow="fold")
    for one in result.descriptions:
        kinds = ", ".join(f"{count} {kind}" for kind, count in one.kinds.items())
        table.add_row(printable(one.name), printable(" ".join(one.libraries)), kinds)
    yield table
