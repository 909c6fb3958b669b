import pytest

from libswap.linux.together import both


def test_both_results_are_handed_back_in_their_order() -> None:
    assert both(lambda: 1, lambda: "two") == (1, "two")


def test_an_error_of_either_is_raised_when_both_have_ended() -> None:
    done = []

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        both(lambda: done.append("here"), fail)
    with pytest.raises(ValueError):
        both(fail, lambda: done.append("aside"))
    assert done == ["here", "aside"]
