"""One libswap at a time, also of two threads of one program."""

import os
import time
from contextlib import suppress

from libswap.errors.process import TargetBusy
from libswap.linux.tracer import traced
from libswap.live.exclusive import exclusively


def _taken() -> bool:
    with suppress(TargetBusy), exclusively(os.getpid(), time.monotonic()):
        return True
    return False


def test_whoever_holds_it_may_take_it_again_and_no_other_thread_may() -> None:
    with exclusively(os.getpid(), time.monotonic()):
        assert _taken()
        assert not traced(_taken)
    assert traced(_taken)
