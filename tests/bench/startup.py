"""How long the command line takes to answer, against Python itself."""

import sys
import tempfile
from pathlib import Path

from tests.bench.section import Section, program, side_by_side

ABOUT = "Wall time of a whole command, interpreter start included."
LIBSWAP = str(Path(sys.executable).with_name("libswap"))


def run() -> tuple[Section, ...]:
    with tempfile.TemporaryDirectory() as state:
        acts = {
            "`python -c pass`": program([sys.executable, "-c", "pass"]),
            "`libswap --version`": program([LIBSWAP, "--version"]),
            "`libswap scan --help`": program([LIBSWAP, "scan", "--help"]),
            "`libswap history`": program([LIBSWAP, "history", "--state-dir", state]),
            "`libswap --help`": program([LIBSWAP, "--help"]),
        }
        return (Section("Start-up", ABOUT, side_by_side(acts)),)
