"""docs/benchmarks.md: a chapter for each bench, and what can be read back from its tables."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "docs" / "benchmarks.md"
FIGURES: Final = FILE.parent / "figures"
_BLOCK: Final = re.compile(
    r"^<!-- bench (\w+) -->\n(.*?)(?=^<!-- bench |\Z)", re.MULTILINE | re.DOTALL
)
_HEAD: Final = """\
# Benchmarks

Written by `make bench` (`python -m tests.bench NAME… --write` renews one chapter); every table was
measured in one run, its rows in turn. Ratios are to the first row of a table: below 1 is faster. In
the figures a dot is the median and a line leads from the fastest to the slowest round; the dashed
line is the first row.

"""
_TABLE: Final = re.compile(r"^### (.+)\n(?:.*\n)*?(?=\| \| median \|)((?:\|.*\n)+)", re.MULTILINE)
_UNITS: Final = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
_PICTURE: Final = re.compile(r"^!\[.*\]\(figures/.*\)\n\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table.

    Attributes:
        name: what was measured.
        median: in seconds, as `fastest` and `slowest`.
        told: the median and the ratio as they stand there.
    """

    name: str
    median: float
    fastest: float
    slowest: float
    told: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of times, its lines in order; the first is what the others are compared to."""

    title: str
    lines: tuple[Line, ...]


def chapters() -> dict[str, str]:
    """The text of each chapter, by the name of its bench."""
    return dict(_BLOCK.findall(FILE.read_text())) if FILE.exists() else {}


def record(name: str, text: str) -> None:
    """Replace one chapter and leave the others as they are; with its figure, if it has one."""
    found = {**chapters(), name: text}
    if (FIGURES / f"{name}.svg").exists():
        found[name] = with_picture(name, text)
    body = "".join(f"<!-- bench {key} -->\n{found[key]}" for key in sorted(found))
    FILE.write_text(_HEAD + body)


def with_picture(name: str, text: str) -> str:
    """The chapter with its figure below the line that names the machine and the date."""
    head, command, rest = _PICTURE.sub("", text).split("\n\n", 2)
    picture = f"![{name}: medians, fastest and slowest rounds](figures/{name}.svg)"
    return f"{head}\n\n{command}\n\n{picture}\n\n{rest}"


def tables(text: str) -> list[Table]:
    """The tables of times in a chapter."""
    return [
        Table(title, tuple(_line(row) for row in rows.splitlines()[2:]))
        for title, rows in _TABLE.findall(text)
    ]


def _line(row: str) -> Line:
    name, median, spread, _, ratio = (cell.strip(" |") for cell in row.split(" | "))
    fastest, slowest = map(_seconds, spread.split(" – "))
    return Line(name.replace("`", ""), _seconds(median), fastest, slowest, f"{median}  ×{ratio}")


def _seconds(figure: str) -> float:
    number, unit = figure.split()
    return float(number) * _UNITS[unit]
