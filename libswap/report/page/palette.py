"""The colours of a page, by day and by night; a test computes that all of them can be read."""

from collections.abc import Mapping
from typing import Final

LIGHT: Final[Mapping[str, str]] = {
    "page": "#ffffff",
    "card": "#f4f6f8",
    "line": "#c3cbd4",
    "text": "#1b2128",
    "quiet": "#55606c",
    "plain": "#3b4652",
    "plain-back": "#e9edf1",
    "good": "#0f5f2c",
    "good-back": "#e2f3e7",
    "warn": "#7a4100",
    "warn-back": "#fcefd9",
    "bad": "#a01c16",
    "bad-back": "#fbe6e4",
    "focus": "#0b57d0",
}
DARK: Final[Mapping[str, str]] = {
    "page": "#0f1318",
    "card": "#181e26",
    "line": "#3a444f",
    "text": "#e7edf3",
    "quiet": "#a3aebb",
    "plain": "#c3ccd6",
    "plain-back": "#27303a",
    "good": "#7fdc97",
    "good-back": "#11301c",
    "warn": "#f2bd6b",
    "warn-back": "#35260f",
    "bad": "#ff9d94",
    "bad-back": "#3d1a18",
    "focus": "#8ab4ff",
}

TEXT_ON: Final[tuple[tuple[str, str], ...]] = (
    *((colour, ground) for colour in ("text", "quiet") for ground in ("page", "card")),
    *((tone, f"{tone}-back") for tone in ("plain", "good", "warn", "bad")),
    *(("text", f"{tone}-back") for tone in ("plain", "good", "warn", "bad")),
    *((tone, ground) for tone in ("plain", "good", "warn", "bad") for ground in ("page", "card")),
)
"""Which colour of text stands on which ground, somewhere on the page."""

SHAPES_ON: Final[tuple[tuple[str, str], ...]] = (("focus", "page"), ("focus", "card"))
"""What is no text and must be told from its ground."""


def variables(colours: Mapping[str, str]) -> str:
    """A palette as custom properties of CSS."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
