"""A check: the verdict, then each rule that found something, with who feels it."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from libswap.abi.finding import Finding, Importer, Severity
from libswap.abi.verdict import Verdict
from libswap.operations.check.result import Check, SymbolLevelOnly, TypesCompared
from libswap.report.survival import survival
from libswap.report.text import printable

_MOST: Final = {Severity.INCOMPATIBLE: 20, Severity.WARNING: 10, Severity.NOTE: 4}
_MOST_IMPORTERS: Final = 5
_COLOURS: Final = {
    Severity.INCOMPATIBLE: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold",
    Verdict.INCOMPATIBLE: "bold red", Verdict.WARNINGS: "bold yellow",
    Verdict.COMPATIBLE: "bold green", Verdict.IDENTICAL: "bold green",
}  # fmt: skip
_SAID: Final = {
    Verdict.IDENTICAL: "identical: both have the same build id, there is nothing to do",
    Verdict.COMPATIBLE: "compatible",
    Verdict.WARNINGS: "compatible, with warnings",
    Verdict.INCOMPATIBLE: "incompatible",
}


def render(result: Check) -> Iterable[RenderableType]:
    """The verdict first: it is what a person asked for."""
    yield Text.assemble(
        f"{printable(result.old.path)} → {printable(result.new.path)}: ",
        (_SAID[result.verdict], _COLOURS[result.verdict]),
    )
    for _, same in groupby(result.findings, key=lambda finding: finding.rule):
        yield from _rule(list(same))
    yield Text(_types(result), "dim")
    if result.survival is not None:
        yield from survival(result.survival)
    yield Text(_processes(result), "dim")
    if result.uninspected:
        yield Text(_uninspected(result), "yellow")


def _rule(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """One rule's heading and its findings, those that somebody feels first."""
    first = findings[0]
    most = _MOST[first.severity]
    yield Text.assemble(
        (first.severity.value, _COLOURS[first.severity]), f" {first.rule}: {first.meaning}"
    )
    felt_first = sorted(findings, key=lambda finding: not finding.importers)
    for finding in felt_first[:most]:
        yield _finding(finding)
        yield from _importers(finding.importers)
    if len(findings) > most:
        yield Text(f"  and {len(findings) - most} more; --json lists all", "dim")


def _finding(finding: Finding) -> Text:
    change = " → ".join(printable(side) for side in (finding.old, finding.new) if side)
    if finding.subject:
        return Text.assemble("  ", (printable(finding.subject), "bold"), f"  {change}")
    return Text(f"  {change}")


def _importers(importers: Sequence[Importer]) -> Iterator[Text]:
    for importer in importers[:_MOST_IMPORTERS]:
        yield Text(
            f"      used by {printable(importer.process)} (PID {importer.pid}): "
            f"{printable(importer.module)}"
        )
    if len(importers) > _MOST_IMPORTERS:
        yield Text(f"      and by {len(importers) - _MOST_IMPORTERS} more", "dim")


def _types(result: Check) -> str:
    match result.types:
        case TypesCompared():
            return "Types and layouts were compared by abidiff."
        case SymbolLevelOnly(reason):
            return f"Symbol-level only, types and layouts were not compared: {printable(reason)}."


def _processes(result: Check) -> str:
    count = len(result.processes)
    if count == 0:
        return "No running process that could be looked at has the old library loaded."
    return f"{count} running {'process has' if count == 1 else 'processes have'} it loaded."


def _uninspected(result: Check) -> str:
    count = len(result.uninspected)
    reasons = ", ".join(sorted({printable(process.reason) for process in result.uninspected}))
    what = "process" if count == 1 else "processes"
    return f"{count} {what} could not be looked at and may use it as well: {reasons}."
