"""What the watcher did, would do, or is doing."""

import time
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations.deployments import Ended, Foreseen, Outcome, Preview, Round, Told
from libswap.report.text import printable

_UNFINISHED = ": not finished, or for something that belongs to it"
_STYLES = {Outcome.DEPLOYED: "green", Outcome.REJECTED: "yellow", Outcome.FAILED: "red"}


def render(result: Round | Preview | Told) -> Iterable[RenderableType]:
    """Deployments, a line for each, then what still waits."""
    match result:
        case Round():
            if result.ended or not (result.waiting or result.held or result.postponed):
                yield from _deployments(result.ended, "There was nothing to deploy.")
            if result.postponed:
                yield Text(f"Begun, and to be gone on with: {printable(result.postponed)}", "red")
            yield from _held(result.held)
            yield from _waiting(result.waiting, "" if result.held else _UNFINISHED)
        case Preview():
            yield from _preview(result)
        case Told():
            yield from _told(result)


def _told(told: Told) -> Iterator[RenderableType]:
    yield Text("A watcher is running." if told.running else "No watcher is running.")
    if told.current is not None:
        deployment = told.current.deployment
        names = printable(", ".join(drop.name for drop in deployment.drops))
        word = "Under way" if told.running else "Interrupted; the next watcher goes on with it"
        yield Text(f"{word}: {names} ({deployment.id})", "yellow")
    yield from _deployments(told.ended, "Nothing has been deployed yet.")
    if told.damaged:
        yield Text(f"{told.damaged} lines of the ledger cannot be read.", "red")


def _deployments(ended: Iterable[Ended], nothing: str) -> Iterator[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("when", "outcome", "files", "operation", "what"):
        table.add_column(heading, overflow="fold")
    for one in ended:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.ended))
        names = printable(", ".join(drop.name for drop in one.deployment.drops))
        outcome = Text(one.outcome.value, _STYLES[one.outcome])
        table.add_row(when, outcome, names, one.operation or "-", _what(one))
    yield table if table.rows else Text(nothing)


def _what(ended: Ended) -> str:
    targets = [target for _, target in ended.deployment.targets]
    words = [ended.reason or f"→ {', '.join(targets)}", *ended.remarks]
    if ended.rollback:
        words.append(f"rolled back by {ended.rollback}")
    return printable("; ".join(words))


def _preview(preview: Preview) -> Iterator[RenderableType]:
    if preview.begun:
        names = printable(", ".join(preview.begun))
        yield Text(f"Begun earlier, and gone on with first: {names}", "yellow")
    if not (preview.files or preview.waiting or preview.begun):
        yield Text("There is nothing to deploy.")
    for one in preview.files:
        yield _foreseen(one)
    yield from _held(preview.held)
    yield from _waiting(preview.waiting, "" if preview.held else _UNFINISHED)


def _foreseen(one: Foreseen) -> Text:
    names = printable(", ".join(one.names))
    if one.refusal:
        return Text.assemble(
            (f"{names}: ", "bold"), ("rejected: ", "yellow"), printable(one.refusal)
        )
    targets = printable(", ".join(target for _, target in one.targets))
    verdicts = ", ".join(one.verdicts) or "new"
    return Text.assemble(
        (f"{names}: ", "bold"), ("deployed", "green"), f" to {targets} ({verdicts})"
    )


def _held(held: Iterable[tuple[str, str]]) -> Iterator[RenderableType]:
    for path, why in held:
        yield Text(f"{printable(path)}: waits: {printable(why)}", "yellow")


def _waiting(names: Iterable[str], why: str = _UNFINISHED) -> Iterator[RenderableType]:
    for name in names:
        yield Text(f"{printable(name)}: waits{why}")
