"""The plan of a rollback, and what became of it."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.rollback import Plan, RolledBack
from libswap.report.views import changes


def render(result: Plan | RolledBack) -> Iterable[RenderableType]:
    """A plan in full; of what was done the names and how it ended."""
    match result:
        case Plan():
            yield Text(f"Operation {result.operation.transaction.id} will be taken back:")
            yield from changes.changes(result.transaction.changes)
            yield from changes.usage(result.usage)
            yield from changes.notices(result.notices)
        case RolledBack():
            yield from changes.changes(result.operation.transaction.changes)
            yield from changes.ending(result.operation)
