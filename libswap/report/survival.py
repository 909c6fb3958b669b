"""Whether live objects survive, as people read it: the verdict, then what it stands on."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from libswap.operations.survival import Survival, Verdict
from libswap.report.text import printable
from libswap.survival.evidence import Evidence, Weight

_MOST: Final = 12
_COLOURS: Final = {
    Verdict.PROVEN: "bold green", Verdict.LIKELY: "green", Verdict.UNKNOWN: "bold yellow",
    Verdict.UNSAFE: "bold red", Weight.DANGER: "red", Weight.DOUBT: "yellow",
    Weight.CONDITION: "cyan", Weight.NOTE: "dim",
}  # fmt: skip
_SAID: Final = {
    Verdict.PROVEN: "proven to survive",
    Verdict.LIKELY: "likely to survive",
    Verdict.UNKNOWN: "not known to survive",
    Verdict.UNSAFE: "unsafe: they do not survive",
}


def survival(result: Survival) -> Iterator[RenderableType]:
    """The verdict and its evidence."""
    said = (_SAID[result.verdict], _COLOURS[result.verdict])
    yield Text.assemble("Live objects: ", said)
    if result.conditions and result.verdict in (Verdict.PROVEN, Verdict.LIKELY):
        yield Text("  where the conditions hold: a live plan looks at them in each process", "cyan")
    for reason in result.reasons:
        yield Text(f"  {reason}", "dim")
    for kind, same in groupby(result.evidence, key=lambda e: (e.weight, e.kind)):
        yield from _kind(*kind, list(same))


def _kind(weight: Weight, kind: str, evidence: Sequence[Evidence]) -> Iterator[RenderableType]:
    yield Text.assemble((weight.value, _COLOURS[weight]), f" {kind}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("where", "old", "new"):
        table.add_column(heading, overflow="fold")
    for one in evidence[:_MOST]:
        table.add_row(printable(one.subject), printable(one.old), printable(one.new))
    yield table
    if len(evidence) > _MOST:
        yield Text(f"  and {len(evidence) - _MOST} more; --json lists all", "dim")
