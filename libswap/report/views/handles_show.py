"""What a description says of a library's functions."""

from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations.handles import Shown
from libswap.report.text import printable


def render(result: Shown) -> Iterable[RenderableType]:
    """A row for each function or pattern, and what does not go together with draining."""
    yield Text(f"{printable(result.name)}: {printable(' '.join(result.libraries))}", "bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("function", "kind", "handle at", "gives", "when"):
        table.add_column(heading, overflow="fold")
    for one in result.functions:
        when = "" if one.when == "always" else f"result {one.when}"
        table.add_row(printable(one.name), one.kind, ", ".join(one.by), ", ".join(one.gives), when)
    yield table
    for heading, names in (("unfit", result.unfit), ("hidden", result.hidden)):
        if names:
            yield Text(f"{heading}: {printable(', '.join(names))}")
    if result.risk:
        yield Text(f"risk: {printable(result.risk)}", "yellow")
