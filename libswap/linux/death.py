"""A test hook: libswap ends itself by SIGKILL at the step that LIBSWAP_TEST_DIE_AT numbers.

Every ptrace request and every write to another process's memory is one step, counted from 1. With
the variable set to N the N-th step is never made. Tests try every N in turn to prove that the
target outlives us whatever was done to it last.
"""

import os
import signal
from typing import Final

_die_at: Final = int(os.environ.get("LIBSWAP_TEST_DIE_AT", "0"))
_count = 0


def step() -> None:
    """Count one step, and die instead of making it when it is the one."""
    if _die_at:
        _count_step()


def _count_step() -> None:
    global _count  # noqa: PLW0603  the steps of the whole process are counted
    _count += 1
    if _count == _die_at:
        os.kill(os.getpid(), signal.SIGKILL)


def steps() -> int:
    """How many steps were made so far; counted only where the variable is set."""
    return _count
