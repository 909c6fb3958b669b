"""What was interrupted, and how it ended."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from libswap.install.journal import Pending
from libswap.operations.recover import Recovered
from libswap.report.text import printable
from libswap.report.views import changes


def render(result: Recovered | Pending) -> Iterable[RenderableType]:
    """The operation's changes and its end."""
    match result:
        case Pending():
            word = "finished" if result.committed else "undone"
            yield Text(f"Operation {result.transaction.id} was interrupted and will be {word}:")
            yield from changes.changes(result.transaction.changes)
        case Recovered(operation=None, discarded=None):
            yield Text("Nothing was interrupted.")
        case Recovered(operation=None, discarded=path):
            yield Text(f"The journal was given up and moved to {printable(path or '')}.")
        case Recovered(operation=operation) if operation is not None:
            yield from changes.changes(operation.transaction.changes)
            yield from changes.ending(operation)
