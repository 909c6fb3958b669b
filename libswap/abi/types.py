"""What libabigail's abidiff reports on types and layouts, as findings of ours.

abidiff(1) has no form of output for programs. Only the frame of its report is relied on: a type
begins a block at the margin, a function or variable one with [C]; the lines indented below tell
the details. A detail of unknown wording is a warning, so that no change is ever left out.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from libswap.abi import catalogue
from libswap.abi.finding import Finding

ARGUMENTS: Final = (
    "--leaf-changes-only",  # each changed type once, not once for each function that reaches it
    "--no-show-locs",
    "--no-added-syms",
    "--no-default-suppression",  # no file of ours or of the system hides a change
)
FAILED: Final = 1 | 2
INCOMPATIBLE: Final = 8
_MAX_LINES: Final = 20_000
_MAX_LINE: Final = 4000
_MAX_DETAILS: Final = 400

_TOLD_BEFORE: Final = ("details were reported earlier",)
_TYPE: Final = re.compile(r"'([^\n]{1,2000})' changed:")
_INTERFACE: Final = re.compile(r"  \[C\] '([^\n]{1,2000})' (?:has some|was changed)")
_SYMBOL_LEVEL: Final = re.compile(r"  \[[AD]\] '")
_LAYOUT: Final = re.compile(
    r"offset changed|size changed from|size of symbol changed|enumerator change"
    r"|parameter \d+ .*was (?:added|removed)|became (?:a reference|an? )|virtual|vtable|base class"
)


class _Block(NamedTuple):
    subject: str
    details: tuple[str, ...]


def type_findings(report: str, status: int) -> tuple[Finding, ...]:
    """The findings in a report.

    Args:
        report: the standard output of abidiff with `ARGUMENTS`; foreign text.
        status: its exit status, without the bits of `FAILED`.
    """
    findings = [_finding(block) for block in _blocks(report) if block.details != _TOLD_BEFORE]
    bad = any(f.rule == catalogue.TYPE_LAYOUT.id for f in findings)
    told_by_symbols = any(_SYMBOL_LEVEL.match(line) for line in report.split("\n", _MAX_LINES))
    if status & INCOMPATIBLE and not bad and not told_by_symbols:
        findings.append(catalogue.TYPE_INCOMPATIBLE.finding("", "", f"abidiff status {status}"))
    return tuple(findings)


def _finding(block: _Block) -> Finding:
    laid_out_anew = any(_LAYOUT.search(line) for line in block.details)
    rule = catalogue.TYPE_LAYOUT if laid_out_anew else catalogue.TYPE_CHANGED
    told = "; ".join(block.details).replace(":;", ":")
    return rule.finding(block.subject, "", told[:_MAX_DETAILS])


def _blocks(report: str) -> Iterator[_Block]:
    subject, margin = "", 0
    details: list[str] = []
    for whole in report.split("\n", _MAX_LINES)[:_MAX_LINES]:
        line = whole[:_MAX_LINE]
        start = _TYPE.match(line) or _INTERFACE.match(line)
        indent = len(line) - len(line.lstrip(" "))
        if subject and (start or (line.strip() and indent <= margin)):
            yield _Block(subject, tuple(details))
            subject, details = "", []
        if start:
            subject, margin = start[1], indent
        elif subject and line.strip():
            details.append(line.strip())
    if subject:
        yield _Block(subject, tuple(details))
