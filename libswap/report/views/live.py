"""What became of each process in a live swap."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import assert_never

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.live.outlook import Outlook
from libswap.live.unloading import Kept, Unloaded
from libswap.operations.draining import (
    DrainBegun,
    DrainPlanned,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.operations.moves import (
    Moved,
    MovedBack,
    Outcome,
    Planned,
    ProcessResult,
    Refused,
    Report,
    Skipped,
    StillMoved,
)
from libswap.report import draining
from libswap.report.findings import lines
from libswap.report.text import printable

_TOLD = 3


def render(result: Report) -> Iterable[RenderableType]:
    """A table of processes, and what to know about those that were not moved."""
    if not result.processes:
        names = " or ".join(printable(asked.library) for asked in result.libraries)
        yield Text(f"No process uses an older {names}.")
    else:
        yield processes(result.processes)
    if result.uninspected:
        yield Text(
            f"Could not be looked at and may use it too: {result.uninspected}; libswap scan"
            " says why.",
            "yellow",
        )


def processes(results: Sequence[ProcessResult]) -> Table:
    """One row per process and copy of the library."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("pid", "process", "outcome"):
        table.add_column(heading, overflow="fold")
    several = len({row.library for row in results}) > 1
    for row in results:
        text = _outcome(row.outcome)
        if several:
            text = Text(f"{printable(Path(row.library).name)}: ").append(text)
        for copy in row.copies:
            text.append("\n").append(_copy(copy))
        table.add_row(str(row.pid), printable(row.name), text)
    return table


def _outcome(outcome: Outcome) -> Text:
    match outcome:
        case Moved():
            text = _moved(outcome)
        case Skipped(reason=reason):
            text = Text(f"nothing to do: {printable(reason)}", "dim")
        case Refused(reason=reason, instead=instead):
            text = Text(f"left as it is: {printable(reason)}", "red")
            if instead:
                text.append(f"\n  {printable(instead)}", "default")
        case MovedBack(reason=reason):
            text = Text(f"moved back: {printable(reason)}", "yellow")
        case StillMoved(id=id_, reason=reason, trouble=trouble):
            text = Text(f"runs on the new library, though {printable(reason)}", "red")
            text.append(f"\n  It could not be moved back: {printable(trouble)}", "default")
            text.append(f"\n  Try again with: libswap revert --id {id_}", "default")
        case Planned(outlook=outlook, survival=survival):
            text = _plan(outlook)
            if survival is not None:
                text.append(f"\n  live objects: {survival.verdict.value}: ")
                text.append(printable("; ".join(survival.told[:_TOLD])))
        case DrainPlanned() | DrainBegun() | StillDraining() | Settled() | TakenBack():
            text = draining.outcome(outcome)
        case _:
            assert_never(outcome)
    return text


def _moved(outcome: Moved) -> Text:
    text = Text("moved", "green")
    text.append(
        f" in {outcome.stopped_for * 1000:.2f} ms ({_threads(outcome.threads)},"
        f" attempt {outcome.attempts}); id {outcome.id}",
        "default",
    )
    if outcome.rehearsed:
        text.append("; it had worked in a copy of the process")
    return text


def _copy(copy: Unloaded | Kept) -> Text:
    what = f"  build {copy.build_id[:12]} at {copy.base:#x}"
    match copy:
        case Unloaded(stopped_for=seconds):
            return Text(f"{what} unloaded, searched in {seconds * 1000:.2f} ms", "green")
        case Kept(reasons=reasons):
            return Text(f"{what} stays: {printable('; '.join(reasons))}", "dim")
        case _:
            assert_never(copy)


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"


def _plan(outlook: Outlook) -> Text:
    slots = sum(outlook.modules.values())
    text = Text(
        f"{slots} slots in {len(outlook.modules)} modules, {outlook.redirects} entries,"
        f" {len(outlook.state)} objects and {outlook.pointers} pointers to them"
    )
    proven = outlook.proven
    if proven.stretches or proven.functions:
        text.append(
            f"\n  without names: {proven.stretches} pieces of data ({proven.bytes} bytes,"
            f" {proven.witnesses} places in the code agree on them) and {proven.functions} entries",
            "dim",
        )
    for path, count in outlook.modules.items():
        text.append(f"\n  {count} slots in {printable(path)}", "dim")
    for part in lines(outlook.findings):
        text.append(part)
    return text
