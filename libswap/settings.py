"""Limits, time-outs and places, each a named field with its unit."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

HISTORY: Final = "history"
"""The file of the state directory that lists all operations."""


def default_state_dir() -> Path:
    """Where the journal, the history and kept files live.

    Root uses /var/lib/libswap. Others use the XDG state home (XDG Base Directory Specification
    0.8), which is taken from the environment only when it is absolute, as that text demands.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/libswap")
    state_home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state_home) if state_home.startswith("/") else Path.home() / ".local" / "state"
    return base / "libswap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operation may be told to do differently.

    Attributes:
        state_dir: journal, history and store of kept files.
        lock_wait: seconds to wait for another libswap that holds the lock.
        store_max_files: how many replaced files are kept, beyond those the next rollback needs.
        store_max_bytes: how many bytes of them.
        abidiff_time: seconds that libabigail's abidiff may take to compare types.
        survival_time: seconds of processor time that the comparison of machine code may take.
    """

    state_dir: Path = field(default_factory=default_state_dir)
    lock_wait: float = 30.0
    store_max_files: int = 200
    store_max_bytes: int = 4 << 30
    abidiff_time: float = 60.0
    survival_time: float = 20.0
