"""docs/benchmarks.md: its figures are those of its tables, and every bench is known."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import record
from tests.bench.__main__ import FRAME, HERE, MINUTES
from tests.bench.record import Line, Table, tables
from tests.bench.section import Row, Section


def test_a_table_is_read_back_as_it_was_written() -> None:
    rows = (Row("`one`", (1.0, 2.0, 4.0)), Row("two", (0.125, 0.5, 0.75)))
    first = Line("one", 2.0, 1.0, 4.0, "2 s  ×1.00")
    second = Line("two", 0.5, 0.125, 0.75, "500 ms  ×0.25")
    text = Section("Title", "About it.", rows).markdown()
    assert tables(text) == [Table("Title", (first, second))]


def test_no_chapter_and_no_estimate_is_without_its_bench() -> None:
    benches = {file.stem for file in HERE.glob("*.py")} - FRAME
    assert set(MINUTES) <= benches
    assert set(record.chapters()) <= benches | {"soak"}


def test_every_chapter_of_times_shows_its_figure() -> None:
    for name, text in record.chapters().items():
        drawn = any(len(table.lines) > 1 for table in tables(text))
        assert (
            drawn == (f"](figures/{name}.svg)" in text) == (record.FIGURES / f"{name}.svg").exists()
        )


DRAW = """
import pathlib, sys
from tests.bench import plot, record
record.FILE = pathlib.Path(sys.argv[1])
record.FIGURES = plot.FIGURES = record.FILE.parent
assert plot.draw("startup")
"""


def test_the_figures_are_drawn_from_the_tables(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs pip install 'libswap[bench]'")
    page = tmp_path / "benchmarks.md"
    page.write_text(record.FILE.read_text())
    subprocess.run([sys.executable, "-c", DRAW, str(page)], cwd=record.ROOT, check=True)
    assert page.read_text() == record.FILE.read_text()
    assert "libswap --version" in (tmp_path / "startup.svg").read_text()
