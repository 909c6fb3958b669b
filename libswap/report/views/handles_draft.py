"""A first description of a library's handles."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.handles import Drafted
from libswap.report.text import printable


def render(result: Drafted) -> Iterable[RenderableType]:
    """The file itself, to be written to one."""
    for line in result.toml.splitlines():
        yield Text(printable(line), overflow="ignore", no_wrap=True)
