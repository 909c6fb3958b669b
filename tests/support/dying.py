"""Run a piece of libswap in a child that is killed before its N-th call that changes a file."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

from libswap.linux import command, libc

_CALLS: Final = (
    "write", "pwrite", "copy_file_range", "fsync", "ftruncate", "link", "rename", "unlink",
    "symlink", "mkdir", "rmdir", "fchmod", "fchown", "setxattr", "utime",
)  # fmt: skip


class _Countdown:
    """Kills us before a call with the number that it was given."""

    def __init__(self, number: int) -> None:
        self.left = number

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **named: Any) -> Any:
            self.step()
            return function(*words, **named)

        return counted

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, flags: int, *words: Any, **named: Any) -> Any:
            if flags & os.O_CREAT:
                self.step()
            return function(path, flags, *words, **named)

        return counted

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _arm(number: int) -> None:
    countdown = _Countdown(number)
    for name in _CALLS:
        setattr(os, name, countdown.before(getattr(os, name)))
    os.open = countdown.opening(os.open)
    libc.renameat2 = countdown.before(libc.renameat2)
    command.run = countdown.before(command.run)


def deaths(work: Callable[[], object], *, stride: int = 1) -> Iterator[int]:
    """Yields after each death; ends when the work comes to its end alive."""
    for number in range(1, 10_000, stride):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _arm(number)
                work()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work itself failed"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield number
    raise AssertionError("it never came to its end")
