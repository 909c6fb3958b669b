"""A test hook: libswap ends itself by SIGKILL at the step that LIBSWAP_TEST_DIE_AT numbers.

Every ptrace request and every write to another process's memory is one step, counted from 1. With
the variable set to N the N-th step is never made. Tests try every N in turn to prove that the
target outlives us whatever was done to it last.
"""

import os
import signal

_remaining = int(os.environ.get("LIBSWAP_TEST_DIE_AT", "0"))


def step() -> None:
    """Die instead of making this step when it is the one."""
    if _remaining:
        _count_down()


def arm(steps: int) -> None:
    """Die at the `steps`-th step from now on."""
    global _remaining  # noqa: PLW0603  the steps of the whole process are counted
    _remaining = steps


def _count_down() -> None:
    arm(_remaining - 1)
    if not _remaining:
        os.kill(os.getpid(), signal.SIGKILL)
