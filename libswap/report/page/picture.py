"""The picture of a page: processes across libraries, before and after, as places to draw at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from libswap.report.page.model import Mark, Page

_LABEL: Final = 176
_COLUMN: Final = 30
_ROW: Final = 24
_INDENT: Final = 10
_LETTERS: Final = 25
"""How many letters of a name fit beside the marks."""
_MOST: Final = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One process, or the service above its processes.

    Attributes:
        y: its middle, in pixels.
        x: where its label begins.
        label: at most 25 letters.
        service: whether it is a service.
        marks: where each shape is drawn, and which.
    """

    y: int
    x: int
    label: str
    service: bool
    marks: tuple[tuple[int, Mark], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One half: before, or after.

    Attributes:
        caption: which.
        summary: the picture in words, for those who do not see it.
        width: in pixels.
        height: in pixels.
        columns: where each library's letter stands.
        lines: from the top.
        hidden: how many processes are not drawn.
    """

    caption: str
    summary: str
    width: int
    height: int
    columns: tuple[tuple[int, str], ...]
    lines: tuple[Line, ...]
    hidden: int


def letter(number: int) -> str:
    """What stands for a library above its column."""
    return chr(ord("A") + number)


def pictures(page: Page) -> tuple[Picture, ...]:
    """Both halves; none where there is nothing to draw."""
    if not page.libraries:
        return ()
    return tuple(_picture(page, half, caption) for half, caption in enumerate(page.captions))


def _picture(page: Page, half: int, caption: str) -> Picture:
    columns = tuple(
        (_LABEL + _COLUMN * n + _COLUMN // 2, letter(n)) for n in range(len(page.libraries))
    )
    lines = tuple(_lines(page, half))
    drawn = sum(not line.service for line in lines)
    total = sum(len(block.rows) + block.hidden for block in page.blocks)
    marks = [mark for line in lines for _, mark in line.marks]
    said = ", ".join(
        f"{marks.count(mark)} × {text}" for mark, text in MEANINGS.items() if mark in marks
    )
    return Picture(
        caption,
        f"{caption}: {drawn} processes; {said or 'nothing'}",
        _LABEL + _COLUMN * len(columns) + 8,
        _ROW * (len(lines) + 1) + 8,
        columns,
        lines,
        total - drawn,
    )


def _lines(page: Page, half: int) -> Iterator[Line]:
    y, drawn = _ROW + _ROW // 2, 0
    for block in page.blocks:
        if drawn >= _MOST:
            return
        yield Line(y, 0, _short(block.name), service=True)
        y += _ROW
        for row in block.rows[: _MOST - drawn]:
            marks = (row.before, row.after)[half]
            places = ((_LABEL + _COLUMN * n + _COLUMN // 2, m) for n, m in enumerate(marks))
            x = _INDENT * (row.depth + 1)
            yield Line(y, x, _short(f"{row.pid} {row.name}", row.depth), False, tuple(places))  # noqa: FBT003
            y, drawn = y + _ROW, drawn + 1


def _short(text: str, depth: int = 0) -> str:
    room = _LETTERS - depth
    return text if len(text) <= room else f"{text[: room - 1]}…"


MEANINGS: Final = {
    Mark.OLD: "runs the old file",
    Mark.NEW: "runs the new file",
    Mark.BOTH: "runs both, until the old has drained",
    Mark.STUCK: "keeps the old file",
    Mark.BROKEN: "feels a difference",
    Mark.CURRENT: "runs what is on disk",
}
"""The legend."""
