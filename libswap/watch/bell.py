"""What wakes the watcher: an event, a signal, the end of a process, or a time.

A pipe, because a signal handler, another thread and poll(2) can all use one: nothing is polled for
in intervals, and nothing that happens between a look and the wait is missed.
"""

import os
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

_DRAIN: Final = 4096
_LONGEST: Final = 24 * 3600.0
"""Seconds; poll(2) counts milliseconds in an int."""


class Stopped(Exception):
    """The watcher was told to end; what is under way is on the disk and goes on the next time."""


class Bell:
    """One pipe.

    Attributes:
        descriptor: where signal.set_wakeup_fd writes.
    """

    def __init__(self) -> None:
        self._read, self.descriptor = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of both ends."""
        os.close(self._read)
        os.close(self.descriptor)

    def ring(self) -> None:
        """Wake whoever waits, or the next one who does."""
        with suppress(BlockingIOError):  # full: it rings already
            os.write(self.descriptor, b"\0")

    def wait(self, timeout: float | None, others: Sequence[int] = ()) -> tuple[int, ...]:
        """Wait until it rings, or one of other descriptors can be read.

        Args:
            timeout: seconds; None for any time.
            others: descriptors, such as those of processes.

        Returns:
            Those of `others` that can be read.
        """
        poll = select.poll()
        for descriptor in (self._read, *others):
            poll.register(descriptor, select.POLLIN)
        longest = None if timeout is None else min(max(timeout, 0.0), _LONGEST) * 1000
        ready = [descriptor for descriptor, _ in poll.poll(longest)]
        with suppress(BlockingIOError):
            while len(os.read(self._read, _DRAIN)) == _DRAIN:
                pass
        return tuple(descriptor for descriptor in ready if descriptor != self._read)
