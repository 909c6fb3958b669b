"""What stands in the way of a live change, a line for each finding."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from libswap.live.findings import Finding, Severity
from libswap.report.text import printable

_COLOURS = {Severity.REFUSE: "red", Severity.RISK: "yellow", Severity.NOTE: "dim"}


def lines(findings: Sequence[Finding]) -> Iterator[Text]:
    """Each begins with a line break."""
    for finding in findings:
        yield Text(
            f"\n  {finding.severity.value}: {finding.word}: {printable(finding.subject)}:"
            f" {printable(finding.detail)}",
            _COLOURS[finding.severity],
        )
