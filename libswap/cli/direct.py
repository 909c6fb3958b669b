"""The scan of the whole machine, answered without typer, whose start takes as long as the scan."""

import gc
from importlib import import_module
from typing import Final

from libswap.cli.session import Session

LINES: Final = (["scan"], ["scan", "--json"])
"""The words that mean it; any other goes the long way, which knows this command too."""


def run(words: list[str]) -> int:
    """Answer one of `LINES`; returns the exit code."""
    gc.disable()  # among thousands of processes it finds nothing, in a tenth of our time
    session = Session.of(words)

    def act() -> int:
        from libswap.scan.census import Looking

        looking = Looking()  # its children look while the rest is imported
        from libswap.operations.scan import scan_machine
        from libswap.settings import Settings

        if words == ["scan"]:
            import_module("libswap.report.views.scan")
        session.reporter.show("scan", scan_machine(Settings(), looking))
        return 0

    try:
        return session.answer(act)
    finally:
        gc.freeze()  # nor when the interpreter ends, in a twentieth
