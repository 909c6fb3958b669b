"""What goes: old versions, and kept files over the limits."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.prune import Plan, Pruned
from libswap.report.views import changes


def render(result: Plan | Pruned) -> Iterable[RenderableType]:
    """A line for each name, and the sum."""
    match result:
        case Plan():
            yield from _plan(result)
        case Pruned():
            yield from _plan(result.plan)
            if result.operation is not None:
                yield from changes.ending(result.operation)


def _plan(plan: Plan) -> Iterator[RenderableType]:
    if plan.versions is not None:
        yield Text("Old versions that nothing leads to and nobody has loaded:")
        yield from changes.changes(plan.versions.changes)
    for entry in plan.entries:
        yield Text(f"  {entry.name}  {changes.size(entry.size)}")
    gone = f"{len(plan.entries)} kept files ({changes.size(plan.size)}) go"
    yield Text(f"{gone}, {plan.remaining} stay.")
    if plan.unclear:
        why = "the history has lines that cannot be read (libswap history), and they may need them"
        yield Text(f"{plan.unclear} of these stay because {why}.", "yellow")
