"""The history, an operation after the other."""

import time
from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from libswap.install.history import Operation, Outcome
from libswap.operations.history import Told
from libswap.report.text import printable
from libswap.report.views import changes


def render(result: Told) -> Iterable[RenderableType]:
    """The newest first."""
    if result.interrupted:
        yield Text("An operation was interrupted; libswap recover finishes or undoes it.", "yellow")
    if result.damaged:
        numbers = ", ".join(map(str, result.damaged))
        yield Text(f"Lines of the history that cannot be read: {numbers}", "yellow")
    if not result.operations:
        about = "" if result.path is None else f" about {printable(result.path)}"
        yield Text(f"There is nothing in the history{about}.")
    for operation in result.operations:
        yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[RenderableType]:
    made, caller = operation.transaction, operation.transaction.caller
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made.time))
    who = f"{caller.name} ({caller.behind})" if caller.behind else caller.name
    what = f"{made.kind.value} of {made.undoes}" if made.undoes else made.kind.value
    undone = operation.outcome is Outcome.UNDONE
    how = (" failed and was undone" if undone else "") + (", recovered" * operation.recovered)
    yield Text.assemble((made.id, "bold"), f"  {when}  {printable(who)}  {what}", (how, "yellow"))
    yield from changes.changes(made.changes)
    if made.affected:
        used = ", ".join(f"{a.pid} {a.name}" for a in made.affected)
        yield Text(f"  in use by {printable(used)}", "dim")
    for remark in operation.remarks:
        yield Text.assemble(("  ! ", "yellow"), printable(remark))
