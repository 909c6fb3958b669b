import os
import threading
from collections.abc import Callable, Iterable, Sequence

import pytest

from libswap.scan import shares
from libswap.scan.census import Census, Looking
from libswap.scan.shares import Part, Shares


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(shares, "_WORTH_A_CHILD", 1)


def in_shares(pids: Sequence[int], look: Callable[[Iterable[int]], Part]) -> list[Part]:
    return Shares(pids, look).parts()


def test_every_process_is_looked_at_once_and_by_two() -> None:
    here = os.getpid()
    reader, writer = os.pipe()

    def look(pids: Iterable[int]) -> tuple[int, list[int]]:
        if os.getpid() == here:
            os.read(reader, 1)  # until the child has taken its first
            return here, list(pids)
        first = next(iter(pids))
        os.write(writer, b".")
        return os.getpid(), [first, *pids]

    parts = in_shares(list(range(1000)), look)
    os.close(reader)
    os.close(writer)
    assert sorted(pid for _, share in parts for pid in share) == list(range(1000))
    assert all(share for looker, share in parts if looker != here)
    assert len(parts) == 2


def test_what_could_not_be_forked_is_looked_at_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", refused)
    assert in_shares([1, 2, 3], sorted) == [[1, 2, 3]]


def test_the_share_of_a_child_that_dies_is_looked_at_here() -> None:
    here = os.getpid()

    def look(share: Iterable[int]) -> list[int]:
        if os.getpid() != here:
            os.kill(os.getpid(), 9)
        return list(share)

    assert sorted(pid for part in in_shares([1, 2, 3], look) for pid in part) == [1, 2, 3]


def test_a_fault_here_leaves_no_child_behind() -> None:
    here = os.getpid()

    def look(share: Iterable[int]) -> list[int]:
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

    shared = Looking().census()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert own(shared) == own(Looking().census())
