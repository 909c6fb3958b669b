"""A manifest: the SHA-256 of files that belong together, as sha256sum(1) writes it; pure."""

import os
import re
from typing import Final

from libswap.errors.watch import DropRefused

SUFFIX: Final = ".manifest"
MOST: Final = 1 << 20
"""Bytes of a manifest."""

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([^/\\\0]+)")


def parse(name: str, data: bytes, most: int) -> dict[str, str]:
    """The hash of each file, by its name.

    Args:
        name: of the manifest, for messages.
        data: its bytes.
        most: how many files it may list.

    Raises:
        DropRefused: it is none, or lists too much.
    """
    try:
        lines = [line for line in os.fsdecode(data).split("\n") if line]
    except UnicodeError:
        lines = []
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in (".", ".."):
            raise DropRefused(name, f"line {number} is none of sha256sum's with a bare file name")
        if match[2] in found:
            raise DropRefused(name, f"line {number} lists {match[2]} a second time")
        found[match[2]] = match[1]
    if not 0 < len(found) <= most:
        raise DropRefused(name, f"it lists {len(found)} files; 1 to {most} are allowed")
    return found
