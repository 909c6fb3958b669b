"""`python -m tests.bench [NAME…] [--write]`: run benches and show, or record, their figures."""

import argparse
import datetime as dt
import os
import platform
import re
import sys
from importlib import import_module
from pathlib import Path

from tests.bench.section import Section

HERE = Path(__file__).parent
FILE = HERE.parents[1] / "docs" / "benchmarks.md"
FRAME = {"__init__", "__main__", "section"}
BLOCK = re.compile(r"^<!-- bench (\w+) -->\n(.*?)(?=^<!-- bench |\Z)", re.MULTILINE | re.DOTALL)
HEAD = """\
# Benchmarks

Written by `make bench` (`python -m tests.bench NAME… --write` renews one chapter); every table was
measured in one run, its rows in turn. Ratios are to the first row of a table: below 1 is faster.

"""


def main() -> int:
    names = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in FRAME)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--write", action="store_true", help="record them in docs/benchmarks.md")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    # Commands are measured as they are installed, compiled; the round that warms up does it here.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in asked.names or names:
        text = chapter(name, import_module(f"tests.bench.{name}").run())
        sys.stdout.write(text)
        sys.stdout.flush()
        if asked.write:
            record(name, text)
    return 0


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


def record(name: str, text: str) -> None:
    """Replace this chapter of the file and leave the others as they are."""
    old = FILE.read_text() if FILE.exists() else ""
    chapters = {**dict(BLOCK.findall(old)), name: text}
    body = "".join(f"<!-- bench {key} -->\n{chapters[key]}" for key in sorted(chapters))
    FILE.write_text(HEAD + body)


if __name__ == "__main__":
    sys.exit(main())
