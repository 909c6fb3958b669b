"""What one thread uses up is no other's, and the clock ends what never gets the processor."""

import threading
import time

import pytest

from libswap.linux.budget import ENDLESS, Budget, TooLong


def test_what_another_thread_uses_does_not_count() -> None:
    budget = Budget(processor=time.thread_time() + 0.2)
    other = threading.Thread(target=_use, args=(0.4,))
    other.start()
    other.join()
    assert not budget.spent


def test_its_own_time_does() -> None:
    budget = Budget.of(0.01)
    _use(0.02)
    assert budget.spent


def test_the_clock_counts_too() -> None:
    assert Budget(clock=time.monotonic() - 1).spent
    with pytest.raises(TooLong):
        Budget(clock=time.monotonic() - 1).check()


def test_an_endless_one_is_never_spent() -> None:
    ENDLESS.check()
    assert not Budget.of(3600).spent


def _use(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
