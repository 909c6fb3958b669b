import pytest

from libswap.report import words


@pytest.mark.parametrize("seconds", [1e18, -1e18, float("inf")])
def test_a_time_beyond_every_calendar_is_said_all_the_same(seconds: float) -> None:
    assert words.when(seconds).count("-") >= 2


def test_a_time_is_said_to_the_minute() -> None:
    assert words.when(0.0) < words.when(86400.0 * 365) < "1980"
