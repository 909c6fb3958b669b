"""The swaps that running processes carry."""

import time
from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.live.registry import Event
from libswap.operations.status import ProcessStatus, Status
from libswap.report.draining import what_is_left
from libswap.report.text import printable


def render(result: Status) -> Iterable[RenderableType]:
    """A row for each swap in each process."""
    if not result.processes:
        yield Text("No running process has been changed.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pid", "process", "id", "when", "what"):
        table.add_column(heading, overflow="fold")
    for process in result.processes:
        name = (str(process.pid), printable(process.name))
        for event in process.events:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.when))
            table.add_row(*name, printable(event.id), when, _what(event))
        for left in process.drains:
            table.add_row(*name, printable(left.id), "", what_is_left(left))
        if not process.events or process.trouble or process.unfinished:
            table.add_row(*name, "", "", _remark(process))
    yield table


def _what(event: Event) -> Text:
    text = Text(f"{printable(event.what)} {printable(event.library)}")
    text.append(f"\n  {_build(event.old)} → {_build(event.new)}", "dim")
    if event.state != "done":
        text.append(f"\n  {printable(event.state)}", "yellow")
    return text


def _build(build_id: str) -> str:
    return printable(build_id[:16]) or "no build id"


def _remark(process: ProcessStatus) -> Text:
    if process.trouble:
        return Text(printable(process.trouble), "red")
    if process.unfinished:
        return Text("a swap was interrupted; libswap status --settle finishes it", "yellow")
    return Text("nothing was changed", "dim")
