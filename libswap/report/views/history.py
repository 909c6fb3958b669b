"""The history as a table."""

import time
from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.install.history import Operation, Outcome
from libswap.operations.history import Told
from libswap.report.text import printable
from libswap.report.views.changes import content


def render(result: Told) -> Iterable[RenderableType]:
    """A row for each operation, newest first."""
    if result.interrupted:
        yield Text("An operation was interrupted; libswap recover finishes or undoes it.", "yellow")
    if result.damaged:
        numbers = ", ".join(map(str, result.damaged))
        yield Text(f"Lines that cannot be read: {numbers}", "yellow")
    if not result.operations:
        yield Text("Nothing has been done yet.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("operation", "when", "who", "what"):
        table.add_column(heading, overflow="fold")
    for operation in result.operations:
        table.add_row(*_row(operation))
    yield table


def _row(operation: Operation) -> tuple[Text, Text, Text, Text]:
    done = operation.transaction
    caller = done.caller
    who = f"{caller.name} ({caller.behind})" if caller.behind else caller.name
    what = Text(done.kind.value)
    if done.undoes:
        what.append(f" of {done.undoes}")
    if operation.outcome is not Outcome.DONE:
        what.append(f", {operation.outcome.value}", "yellow")
    for change in done.changes:
        what.append(f"\n{printable(change.path)}", "bold")
        what.append(f"\n  {content(change.before)} → {content(change.after)}", "dim")
    if done.affected:
        what.append(f"\n  in use by {', '.join(str(a.pid) for a in done.affected)}")
    for remark in operation.remarks:
        what.append(f"\n  ! {printable(remark)}", "yellow")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(done.time))
    return Text(done.id), Text(when), Text(printable(who)), what
