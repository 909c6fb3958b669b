"""`python -m tests.bench [NAME…] [--write]`: run benches and show, or record, their figures."""

import argparse
import datetime as dt
import os
import platform
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.bench.plot import draw
from tests.bench.record import chapters, record
from tests.bench.section import Section

HERE: Final = Path(__file__).parent
FRAME: Final = {"__init__", "__main__", "section", "record", "plot"}
MINUTES: Final = {
    "calls": 1, "check": 1, "drain": 1, "fleet": 5, "install": 2, "live_growth": 6,
    "live_servers": 3, "live_stop": 1, "patch_build": 1, "patch_stop": 1, "scan": 4, "startup": 1,
    "survival": 20, "survival_drained": 40, "survival_held": 30, "survival_time": 2,
    "watch": 1,
}  # fmt: skip
"""About how long each takes on two processors; what is not listed has not been tried."""

BY_LIBRARY: Final = {"survival", "survival_drained", "survival_held"}
_ONLY: Final = (
    "of a survival chapter, this library alone, or this set (blind_2, blind, fresh, held)"
)


def main() -> int:
    names = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in FRAME)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--only", action="append", default=[], metavar="LIBRARY", help=_ONLY)
    parser.add_argument("--write", action="store_true", help="record them in docs/benchmarks.md")
    parser.add_argument("--draw", action="store_true", help="draw what is recorded, run nothing")
    parser.add_argument("--list", action="store_true", help="say what each takes, run nothing")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    if asked.only and (asked.write or not asked.names or set(asked.names) - BY_LIBRARY):
        parser.error("--only goes with chapters of libraries, and records nothing")
    if asked.list:
        sys.stdout.writelines(_told(name) for name in names)
    elif asked.draw:
        for name in asked.names or chapters():
            draw(name)
    else:
        for name in asked.names or names:
            _run(name, asked.only, write=asked.write)
    return 0


def _run(name: str, only: list[str], *, write: bool) -> None:
    # Commands are measured as they are installed, compiled; the round that warms up does it here.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.stderr.write(_told(name))
    run = import_module(f"tests.bench.{name}").run
    text = chapter(name, run(only) if only else run())
    sys.stdout.write(text)
    sys.stdout.flush()
    if write:
        record(name, text)
        draw(name)


def _told(name: str) -> str:
    """A bench, about how long it takes, and what it measures."""
    about = (import_module(f"tests.bench.{name}").__doc__ or "").splitlines()[0]
    return f"{name:13} {MINUTES.get(name, '?'):>3} min  {about}\n"


def chapter(name: str, sections: tuple[Section, ...]) -> str:
    """One bench as Markdown: the command, the machine and the date above its tables."""
    today = dt.datetime.now(tz=dt.UTC).date()
    head = f"## {name}\n\n`python -m tests.bench {name}` on {machine()}, {today}.\n\n"
    return head + "\n".join(section.markdown() for section in sections) + "\n"


def machine() -> str:
    """The processor, the kernel, the distribution and Python, as far as figures depend on them."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return (
        f"{len(os.sched_getaffinity(0))} × {cpu[1] if cpu else platform.machine()}, "
        f"Linux {platform.release()}, {system}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
