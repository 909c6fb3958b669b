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
            yield from _lines(result, "will go", "will stay")
        case Pruned():
            yield from _lines(result.plan, "went", "stayed")
            if result.operation is not None:
                yield from changes.ending(result.operation)


def _lines(plan: Plan, go: str, stay: str) -> Iterator[RenderableType]:
    if plan.versions is not None:
        yield Text(f"Old versions that nothing leads to and nobody has loaded {go}:")
        yield from changes.changes(plan.versions.changes)
    for entry in plan.entries:
        yield Text(f"  {entry.name}  {changes.size(entry.size)}")
    kept = f"{len(plan.entries)} kept file{'' if len(plan.entries) == 1 else 's'}"
    yield Text(f"{kept} ({changes.size(plan.size)}) {go}, {plan.remaining} {stay}.")
    if plan.unclear:
        why = "the history has lines that cannot be read (libswap history), and they may need them"
        yield Text(f"{plan.unclear} of these {stay}, because {why}.", "yellow")
