"""How long the command line takes to answer, against Python itself."""

import sys
from pathlib import Path

from libswap.cli.app import COMMANDS
from tests.bench.section import Section, program, side_by_side

LIBSWAP = str(Path(sys.executable).with_name("libswap"))


def run() -> tuple[Section, ...]:
    acts = {
        "`python -c pass`": program([sys.executable, "-c", "pass"]),
        "`libswap --version`": program([LIBSWAP, "--version"]),
        **{f"`libswap {c} --help`": program([LIBSWAP, c, "--help"]) for c in COMMANDS[:1]},
        "`libswap --help`": program([LIBSWAP, "--help"]),
    }
    about = "Wall time of a whole command, interpreter start included."
    return (Section("Start-up", about, side_by_side(acts)),)
