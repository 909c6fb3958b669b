"""How the kernel schedules us for the moment in which others wait for us (sched(7))."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def alone_on_this_cpu() -> Iterator[None]:
    """Run before every ordinary thread of the machine, where we may (CAP_SYS_NICE).

    For a fraction of a millisecond only, and never while waiting for another thread: it could need
    our CPU to come to the point that we wait for.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:  # EPERM; EINVAL in a control group without real-time runtime
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
