"""`python -m tests.soak [--minutes N] [--seed N] [--write]`: does it hold? For days, too."""

import argparse
import datetime as dt
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from support.debian import Unavailable
from tests.bench.__main__ import machine
from tests.bench.record import record
from tests.soak.figures import chapter
from tests.soak.scene import run, scene


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is left to chance")
    parser.add_argument("--write", action="store_true", help="record it in docs/benchmarks.md")
    asked = parser.parse_args()
    for one in (signal.SIGINT, signal.SIGTERM):  # a shell's `&` ignores the first
        signal.signal(one, signal.default_int_handler)
    try:
        text = _soaked(60 * asked.minutes, asked.seed)
    except (Unavailable, pytest.skip.Exception) as lacking:
        parser.exit(1, f"{lacking}\n")
    sys.stdout.write(text)
    if asked.write:
        record("soak", text)
    return 0


def _soaked(seconds: float, seed: int) -> str:
    with (
        tempfile.TemporaryDirectory(prefix="libswap-soak-") as work,
        scene(Path(work), seconds, seed) as stage,
    ):
        run(stage, _say)
        return chapter(stage.figures, machine(), dt.datetime.now(dt.UTC).date(), stage.requests())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
