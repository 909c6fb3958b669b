"""Campaigns of hostile input: short in every run of the suite, long by LIBSWAP_FUZZ_SECONDS."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS: Final = float(os.environ.get("LIBSWAP_FUZZ_SECONDS", "0"))
"""Of each campaign; 0 for its short form."""
MOST_SECONDS: Final = 10.0
MOST_MEMORY: Final = 1 << 30
"""Of one input: our own processor time, and what it may add to our address space in bytes. Far
above what any takes; what never ends or believes a size that a file claims is far above this."""

NUMBERS: Final = st.sampled_from(
    [-1, 0, 1, 2, 7, 8, 0x10, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF,
     1 << 32, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1, 1 << 70]
)  # fmt: skip
JSON: Final = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def campaign(check: Callable[[Any], object], inputs: st.SearchStrategy[Any], short: int) -> None:
    """Give inputs to a check, which must end soon and in little memory.

    Args:
        check: raises for what must not be.
        inputs: what it is given.
        short: how many in the short form; the long form repeats as many until its time is up.
    """
    given_so_far = 0

    @settings(
        max_examples=short, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(inputs)
    def once(value: Any) -> None:
        nonlocal given_so_far
        given_so_far += 1
        with _bounded():
            check(value)

    end = time.monotonic() + SECONDS
    once()
    while time.monotonic() < end:
        once()
    print(f"{given_so_far:,} inputs")  # noqa: T201  for -s


@contextmanager
def _bounded() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  a Path for each input costs
        pages = int(file.read().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY, hard)
    )  # more is a MemoryError, which no reader expects
    begun = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - begun < MOST_SECONDS


def with_one_changed(value: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """JSON in which one part, however deep, is another, is gone, or has company."""
    if isinstance(value, dict) and value and draw(st.booleans() | st.just(value=True)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: with_one_changed(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans() | st.just(value=True)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], with_one_changed(value[at], draw), *value[at + 1 :]]
    return draw(JSON)
