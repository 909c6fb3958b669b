"""The plan of an installation and of the moves after it, and what became of both."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from libswap.operations.install_live import LiveInstalled, LivePlan
from libswap.operations.moves import ProcessResult
from libswap.report.text import printable
from libswap.report.views import changes, install
from libswap.report.views.live import processes


def render(result: LivePlan | LiveInstalled) -> Iterable[RenderableType]:
    """A plan in full; of what was done how it ended, for the plan has been shown."""
    match result:
        case LivePlan():
            yield from install.render(result.plan)
            yield Text("Then these processes will be moved onto the new library, one by one:")
            yield from _moves(result.processes)
        case LiveInstalled():
            yield from install.render(result.installed)
            yield from _moves(result.processes)
            yield from _missed(result.uninspected)
            if result.failure:
                yield from _taken_back(result)


def _moves(results: Sequence[ProcessResult]) -> Iterator[RenderableType]:
    yield processes(results) if results else Text("  No process runs on what is replaced.", "dim")


def _missed(count: int) -> Iterator[RenderableType]:
    if count:
        text = f"Could not be looked at and may use it too: {count}; libswap scan says why."
        yield Text(text, "yellow")


def _taken_back(result: LiveInstalled) -> Iterator[RenderableType]:
    yield Text("So everything was taken back:", "yellow")
    if result.rolled_back is not None:
        yield from changes.changes(result.rolled_back.plan.transaction.changes)
        yield from changes.ending(result.rolled_back.operation)
    if result.trouble:
        yield Text(f"The files could not be: {printable(result.trouble)}", "red")
    if result.taken_back:
        yield processes(result.taken_back)
