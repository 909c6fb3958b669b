"""How long a piece of work may go on."""

import math
import time
from dataclasses import dataclass
from typing import Final, Self

_CLOCK: Final = 8
"""Seconds of the clock for each of the processor: so busy may the machine be."""


class TooLong(Exception):
    """The time is used up."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Until when, for the thread that asks.

    Its own processor time counts, so that neither a busy machine nor another thread changes what
    comes out; the clock ends only what the machine hardly lets run.

    Attributes:
        processor: in seconds of the thread's processor time.
        clock: in monotonic seconds.
        unasked: until when the processor time need not be asked for, in monotonic seconds.
    """

    processor: float = math.inf
    clock: float = math.inf
    unasked: float = -math.inf

    @classmethod
    def of(cls, seconds: float) -> Self:
        """So many seconds of processor time from now on."""
        now = time.monotonic()
        return cls(time.thread_time() + seconds, now + _CLOCK * seconds, now + seconds)

    @property
    def spent(self) -> bool:
        """Whether there is no time left.

        A thread uses no more processor time than passes: until then a system call is saved.
        """
        now = time.monotonic()
        return now > self.unasked and (time.thread_time() > self.processor or now > self.clock)

    def check(self) -> None:
        """Make sure that there is time left.

        Raises:
            TooLong: there is none.
        """
        if self.spent:
            raise TooLong


ENDLESS: Final = Budget()
"""For whoever waits as long as it takes."""
