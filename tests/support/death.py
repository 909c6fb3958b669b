"""Run a piece of libswap in a child that kills itself at its N-th step, for every N in turn."""

import os
import signal
from collections.abc import Callable, Iterator

from libswap.linux import death


def deaths(
    work: Callable[[], object],
    *,
    stride: int = 1,
    first: int = 1,
    arm: Callable[[int], None] = death.arm,
) -> Iterator[int]:
    """Yields after each death, so that the caller looks at the target; ends when `work` does.

    Args:
        work: what is killed.
        stride: every which step is tried.
        first: the first of them.
        arm: told in the child at which step it is to die; by default one that touches a process.
    """
    for step in range(first, 100_000, stride):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                arm(step)
                work()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work itself failed"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield step
    raise AssertionError("it never came to its end")
