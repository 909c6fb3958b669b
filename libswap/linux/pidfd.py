"""A process held by a descriptor, so that its PID cannot mean another (pidfd_open(2))."""

import os
import select
from typing import Self

from libswap.errors.process import ProcessGone


class PidFd:
    """One process, for as long as the descriptor is open.

    Attributes:
        descriptor: of the process; it can be read from when that has ended.
    """

    def __init__(self, pid: int) -> None:
        """Hold the process that has this PID now.

        Raises:
            ProcessGone: there is none.
        """
        try:
            self.descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            raise ProcessGone(pid) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def ended(self, timeout: float = 0.0) -> bool:
        """Whether it has ended, or does so within `timeout` seconds."""
        poll = select.poll()  # unlike select(2), with no limit to a descriptor's number
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
