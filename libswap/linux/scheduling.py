"""When we run, in the moments that count: at once, without rests of our own (sched(7))."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NAP: Final = 20e-6


@contextmanager
def promptly() -> Iterator[None]:
    """Be run at once whenever there is something to do, where we may (CAP_SYS_NICE).

    Others stand still for us meanwhile. While waiting for them, call `give_way`: they could need
    our CPU to come to the point that we wait for.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:  # EPERM; EINVAL in a control group without real-time runtime
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage meanwhile.

    For when others stand still for us, and for work that makes millions of small objects of which
    none is in a circle: there the looking takes a fifth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def give_way() -> None:
    """Let others run for a few microseconds.

    A real-time thread has to sleep for that, and wakes up in time; an ordinary one would be given
    50 us more (timer slack, prctl(2)) and yields instead.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        os.sched_yield()
    else:
        time.sleep(_NAP)
