"""Figures of docs/benchmarks.md, drawn from its tables: `python -m tests.bench --draw`."""

from typing import Any, Final

from tests.bench.record import FIGURES, Table, chapters, record, tables

_WIDE: Final = 8.0
_ROW: Final = 0.28
_ABOVE: Final = 0.75
"""Inches: of a figure, of a row, of a title and an axis."""
_DECADES: Final = 10
"""Times of which the longest is more than so many times the shortest lie on a logarithmic axis."""
_COLOURS: Final = ("#1f6f8b", "#b0413e")
"""Of libswap's rows, and of what they are compared with."""


def draw(name: str) -> bool:
    """Draw the figure of a chapter that has tables of times; the same tables, the same bytes."""
    found = [table for table in tables(chapters()[name]) if len(table.lines) > 1]
    if not found:
        return False
    import matplotlib as mpl  # noqa: PLC0415  only who draws needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    heights = [_ABOVE + _ROW * len(table.lines) for table in found]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 8}):
        figure = Figure(figsize=(_WIDE, sum(heights)), layout="constrained")
        places = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
        for place, table in zip(places, found, strict=True):
            _fill(place, table)
        FIGURES.mkdir(exist_ok=True)
        figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    record(name, chapters()[name])
    return True


def _fill(place: Any, table: Table) -> None:
    """One table: a row each, the first on top."""
    slowest = max(line.slowest for line in table.lines)
    rows = range(len(table.lines))
    ours = [_is_ours(line.name) for line in table.lines]
    for row, line in zip(rows, table.lines, strict=True):
        colour = _COLOURS[any(ours) and not ours[row]]
        place.plot([line.fastest, line.slowest], [row, row], color=colour, linewidth=1.5, alpha=0.5)
        place.plot(line.median, row, "o", color=colour, markersize=5)
        place.annotate(
            line.told, (line.slowest, row), (6, -3), textcoords="offset points", color=colour
        )
    place.axvline(table.lines[0].median, color="0.6", linewidth=0.8, linestyle="--")
    place.set(yticks=rows, yticklabels=[line.name for line in table.lines])
    if slowest > _DECADES * min(line.fastest for line in table.lines):
        place.set(xscale="log")
        place.margins(x=0.25)
    else:
        place.set_xlim(0, 1.25 * slowest)
    place.set_ylim(len(table.lines) - 0.5, -0.5)
    place.set_title(table.title, loc="left", fontweight="bold")
    place.xaxis.set_major_formatter(lambda seconds, _: _told(seconds))
    place.xaxis.set_minor_formatter(lambda *_: "")
    place.spines[["top", "right"]].set_visible(False)


def _is_ours(name: str) -> bool:
    return any(
        word in name for word in ("libswap", "scan()", "users_of", "read_library", "compare")
    )


def _told(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1e9:g} ns" if seconds else "0"
