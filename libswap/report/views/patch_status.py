"""The patches that running processes carry."""

import time
from collections.abc import Iterable

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.live.patches import PatchRecord
from libswap.operations.patch_status import Listed, ProcessPatches
from libswap.report.text import printable


def render(result: Listed) -> Iterable[RenderableType]:
    """A row for each patch of each process, in the order of applying."""
    if not result.processes:
        yield Text("No running process carries a patch.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pid", "process", "id", "when", "patch"):
        table.add_column(heading, overflow="fold")
    for process in result.processes:
        name = (str(process.pid), printable(process.name))
        for patch in process.patches:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(patch.when))
            table.add_row(*name, printable(patch.id), when, _what(patch))
        if not process.patches or process.trouble or process.unfinished:
            table.add_row(*name, "", "", _remark(process))
    yield table
    if result.verified:
        yield from _verdict(result)


def _what(patch: PatchRecord) -> Text:
    text = Text(printable(patch.description) or f"patch {printable(patch.patch[:16])}")
    if not patch.active:
        text.append(f" ({printable(patch.state)})", "dim")
    names = ", ".join(e.label for e in patch.entries)
    text.append(f"\n  {printable(names)} in {printable(patch.module)}", "dim")
    return text


def _remark(process: ProcessPatches) -> Text:
    if process.trouble:
        return Text(printable(process.trouble), "red")
    if process.unfinished:
        return Text("a change was interrupted; the next apply or revert finishes it", "yellow")
    return Text("no patch", "dim")


def _verdict(result: Listed) -> Iterable[RenderableType]:
    damage = [(p.pid, d) for p in result.processes for d in p.damage]
    for pid, text in damage:
        yield Text(f"process {pid}: {printable(text)}", "red")
    if not damage:
        yield Text("Every patch is in memory as it was applied.", "green")
