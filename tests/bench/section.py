"""What a bench hands over: rows of times measured side by side, laid out as Markdown."""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured.

    Attributes:
        name: what it is, as the table shows it.
        seconds: one figure for each round.
    """

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the benchmarks.

    Attributes:
        title: what is compared, under which load.
        about: a sentence or two: what is counted and what is not; Markdown.
        rows: the measurements; the ratios are to the first.
    """

    title: str
    about: str
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        """The heading, the text and the table."""
        base = self.rows[0].median
        lines = [f"### {self.title}", "", self.about, ""]
        lines += ["| | median | fastest – slowest | rounds | ratio |", "|---|--:|--:|--:|--:|"]
        lines += [_line(row, base) for row in self.rows]
        return "\n".join(lines) + "\n"


def side_by_side(
    acts: Mapping[str, Callable[[], object]], *, rounds: int = 15, warm_up: int = 1
) -> tuple[Row, ...]:
    """Time each act once a round, in turn, so that the machine's noise falls on all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(warm_up + rounds):
        for name, act in acts.items():
            begun = time.perf_counter()
            act()
            taken = time.perf_counter() - begun
            if turn >= warm_up:
                seconds[name].append(taken)
    return tuple(Row(name, tuple(figures)) for name, figures in seconds.items())


def program(argv: Sequence[str], *, status: int = 0) -> Callable[[], None]:
    """An act that runs a program to its end and insists on its exit status."""

    def act() -> None:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == status, f"{argv}: {done.returncode}\n{done.stderr.decode()}"

    return act


def _line(row: Row, base: float) -> str:
    low, high = _figure(min(row.seconds)), _figure(max(row.seconds))
    return (
        f"| {row.name} | {_figure(row.median)} | {low} – {high} | {len(row.seconds)} "
        f"| {row.median / base:.2f} |"
    )


def _figure(seconds: float) -> str:
    """A time with three significant digits, in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e9:.3g} ns"
