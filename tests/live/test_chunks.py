"""What malloc gave out, as it is read from another process's memory; here our own."""

import ctypes
import os

import pytest

from libswap.linux.memory import ProcessMemory, Range
from libswap.live.draining.chunks import given_out

LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
LIBC.free.argtypes = [ctypes.c_void_p]


@pytest.mark.parametrize("size", [1, 24, 25, 1000, 200_000])
def test_what_glibc_gave_out_is_known_by_its_chunk(size: int) -> None:
    address = LIBC.malloc(ctypes.c_size_t(size))
    with ProcessMemory(os.getpid()) as memory:
        found = given_out(memory, address)
    usable = LIBC.malloc_usable_size(ctypes.c_void_p(address))
    LIBC.free(address)
    assert found == Range(address, address + usable)


@pytest.mark.parametrize("before", [0, 24, 40, 0x1001, 0x1003, 1 << 40])
def test_another_number_before_an_object_is_no_size(before: int) -> None:
    words = (ctypes.c_uint64 * 2048)(*[0x7F1234567890] * 2048)
    at = next(i for i in range(2, 6) if (ctypes.addressof(words) + 8 * i) % 16 == 0)
    words[at - 1] = before
    address = ctypes.addressof(words) + 8 * at
    with ProcessMemory(os.getpid()) as memory:
        assert given_out(memory, address) == Range(address, address + 8)


def test_what_cannot_be_read_is_one_word() -> None:
    with ProcessMemory(os.getpid()) as memory:
        assert given_out(memory, 0x1000) == Range(0x1000, 0x1008)
