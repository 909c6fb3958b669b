"""For `support.death.deaths`: die before the N-th call that changes a file."""

import os
import signal
from collections.abc import Callable
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


def arm(number: int) -> None:
    countdown = _Countdown(number)
    for name in _CALLS:
        setattr(os, name, countdown.before(getattr(os, name)))
    os.open = countdown.opening(os.open)
    libc.renameat2 = countdown.before(libc.renameat2)
    command.run = countdown.before(command.run)
