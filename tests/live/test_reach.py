"""The search of a process's memory, tried on this process."""

import mmap
import os
import struct
from ctypes import addressof, c_char

import pytest

from libswap.linux.memory import ProcessMemory, Range
from libswap.live.reach import Reach, all_of_it, is_return_address, present, reach
from libswap.live.stacks import Areas
from libswap.process.maps import Mapping, maps_of
from support.memory import FakeMemory

PAGE = 4096
WANTED = Range(0x7F1234560000, 0x7F1234570000)


@pytest.mark.parametrize(
    ("code", "is_call"),
    [
        ("e8 11 22 33 44", True),  # call rel32
        ("ff d0", True),  # call *%rax
        ("41 ff d3", True),  # call *%r11
        ("ff 53 08", True),  # call *8(%rbx)
        ("ff 90 00 01 00 00", True),  # call *0x100(%rax)
        ("ff 15 11 22 33 44", True),  # call *slot(%rip)
        ("ff 14 c3", True),  # call *(%rbx,%rax,8)
        ("ff 14 c5 11 22 33 44", True),  # call *0x44332211(,%rax,8)
        ("ff 54 24 08", True),  # call *8(%rsp)
        ("ff 94 24 00 01 00 00", True),  # call *0x100(%rsp)
        ("e9 11 22 33 44", False),  # jmp
        ("ff e0", False),  # jmp *%rax
        ("90 90 90", False),
    ],
)
def test_a_return_address_has_a_call_before_it(code: str, *, is_call: bool) -> None:
    memory = FakeMemory({0x1000: bytes.fromhex(code).rjust(16, b"\x90")})
    assert is_return_address(memory, 0x1010) is is_call


def test_what_is_not_mapped_is_no_return_address() -> None:
    assert not is_return_address(FakeMemory({0x1000: bytes(16)}), 0x1003)


def made(flags: int) -> tuple[mmap.mmap, int]:
    """A mapping with words in its first page and its 700th, and where it lies."""
    memory = mmap.mmap(-1, 1024 * PAGE, flags)
    for page in (0, 700):
        struct.pack_into("<Q", memory, page * PAGE + 8, WANTED.start + page)
    start = c_char.from_buffer(memory)
    at = addressof(start)
    del start
    return memory, at


def mappings(at: int) -> list[Mapping]:
    """The one that holds an address."""
    return [m for m in maps_of(os.getpid()) if m.start <= at < m.end]


def found(at: int, *skip: Range) -> Reach:
    with ProcessMemory(os.getpid()) as memory:
        return reach(memory, mappings(at), os.getpid(), Areas([WANTED]), skip)


def test_words_are_found_in_the_pages_that_are_there_and_no_page_is_made() -> None:
    area, at = made(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with area:
        mine = Range(at, at + 1024 * PAGE)
        there = [p for p in present(mappings(at), os.getpid(), ()) if p.start in mine]
        assert Range(at + 700 * PAGE, at + 701 * PAGE) in there
        words = [h for h in found(at).words if h.at in mine]
        assert [(h.at - at, h.value) for h in words] == [
            (8, WANTED.start), (700 * PAGE + 8, WANTED.start + 700),
        ]  # fmt: skip
        assert [p for p in present(mappings(at), os.getpid(), ()) if p.start in mine] == there
        assert found(at, mine) == Reach((), complete=True)


def test_shared_memory_is_not_searched() -> None:
    area, at = made(mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    with area:
        assert found(at) == Reach((), complete=True)


def test_too_much_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libswap.live.reach.MOST_SEARCHED", PAGE - 1)
    area, at = made(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with area:
        assert not found(at).complete


def test_what_is_skipped_in_a_mapping_hides_nothing_beside_it() -> None:
    area, at = made(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with area:
        mine = Range(at, at + 1024 * PAGE)
        first, rest = Range(at, at + 16), Range(at + 100 * PAGE + 8, at + 200 * PAGE)
        words = [h.at - at for h in found(at, rest, first).words if h.at in mine]
        assert words == [700 * PAGE + 8]
        last = Range(at + 700 * PAGE, at + 701 * PAGE)
        words = [h.at - at for h in found(at, last, rest).words if h.at in mine]
        assert words == [8]


def test_more_pages_than_are_looked_at_are_not_all_of_it() -> None:
    one = maps_of(os.getpid())[0]._replace(readable=True, writable=True, shared=False)
    large = one._replace(start=1 << 40, end=(1 << 40) + (1 << 36))
    assert all_of_it([one])
    assert not all_of_it([one, large])
    assert all_of_it([one, large._replace(writable=False)])
