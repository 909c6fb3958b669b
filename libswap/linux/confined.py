"""Programs that read what strangers made: without rights, environment, or room to spread."""

import math
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from libswap.linux import command, launcher
from libswap.linux.command import Completed

NOBODY: Final = 65534
"""The kernel's overflow uid, which owns nothing."""
MEMORY: Final = 4 << 30
"""Bytes of address space: abidiff takes about ten times the debug information."""


def run(argv: Sequence[str], *, timeout: float, limit: int = 1 << 24) -> Completed:
    """Run a program that can read what everybody can, and do nothing but write to its outputs.

    Where we are root it is nobody; an ordinary user's program keeps reading what that user can.

    Args:
        argv: the program, looked for in `command.SEARCH_PATH`, and its words.
        timeout: seconds after which it is killed.
        limit: bytes that are kept of each of its two outputs.

    Raises:
        ProgramFailed: it could not be started, or did not end in time.
    """
    uid = NOBODY if os.geteuid() == 0 else -1
    room = [str(number) for number in (uid, MEMORY, math.ceil(timeout) + 1)]
    program = argv[0] if "/" in argv[0] else command.find(argv[0]) or argv[0]
    words = [sys.executable, "-ISB", launcher.__file__, *room, program, *argv[1:]]
    return command.run(words, timeout=timeout, limit=limit)


def may_read(path: Path) -> bool:
    """Whether such a program can read a file, by the mode of it and of the directories above."""
    if os.geteuid() != 0:
        return True
    real = path.resolve()
    above = all(directory.stat().st_mode & stat.S_IXOTH for directory in real.parents)
    return above and bool(real.stat().st_mode & stat.S_IROTH)
