"""A line of a report that needs no layout, so that a pipe gets it without what draws tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Line:
    """One line, in which nothing is markup.

    Attributes:
        text: what it says.
        style: its colour or weight on a terminal, as rich names them.
        cut: whether it ends where the terminal does, rather than to go on in the next row.
    """

    text: str = ""
    style: str = ""
    cut: bool = False

    def __rich__(self) -> "RenderableType":
        """The same for a terminal."""
        from rich.console import Group  # noqa: PLC0415  costs more than a line
        from rich.text import Text  # noqa: PLC0415

        if not self.cut:
            return Text(self.text, self.style)
        # In a group, or print() would join it to others and wrap it.
        return Group(Text(self.text, self.style, no_wrap=True, overflow="ellipsis"))
