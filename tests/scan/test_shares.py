import os
import threading
from collections.abc import Sequence

import pytest

from libswap.scan import shares
from libswap.scan.census import Census, take_census
from libswap.scan.shares import in_shares


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(shares, "_WORTH_A_CHILD", 1)


def test_every_process_is_looked_at_once_and_by_two() -> None:
    parts = in_shares(list(range(100)), lambda share: (os.getpid(), list(share)))
    assert len({looker for looker, _ in parts}) == 2
    assert sorted(pid for _, share in parts for pid in share) == list(range(100))


def test_the_share_of_a_child_that_dies_is_looked_at_here() -> None:
    here = os.getpid()

    def look(share: Sequence[int]) -> list[int]:
        if os.getpid() != here:
            os.kill(os.getpid(), 9)
        return list(share)

    assert sorted(pid for part in in_shares([1, 2, 3], look) for pid in part) == [1, 2, 3]


def test_a_fault_here_leaves_no_child_behind() -> None:
    here = os.getpid()

    def look(share: Sequence[int]) -> list[int]:
        if os.getpid() == here:
            raise RuntimeError("a fault of ours")
        return list(share)

    with pytest.raises(RuntimeError, match="a fault of ours"):
        in_shares([1, 2, 3], look)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_process_with_threads_is_not_forked() -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        assert in_shares([1, 2], lambda share: os.getpid()) == [os.getpid()]  # noqa: ARG005
    finally:
        stop.set()
        other.join()


def test_a_census_in_shares_finds_what_one_alone_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(census: Census) -> set[object]:
        parent = os.getppid()
        return {key for files in census.mapped.values() for key, p in files.items() if parent in p}

    shared = take_census()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert own(shared) == own(take_census())
