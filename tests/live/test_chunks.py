"""What malloc gave out, as it is read from another process's memory; here our own."""

import ctypes
import mmap
import os
import threading

import pytest

from libswap.linux.memory import ProcessMemory, Range
from libswap.live.draining.chunks import Chunks, in_arena
from libswap.live.module import Module
from libswap.process.maps import maps_of

LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
LIBC.free.argtypes = [ctypes.c_void_p]


def chunks(memory: ProcessMemory, *modules: Module) -> Chunks:
    return Chunks.of(memory, maps_of(os.getpid()), modules)


@pytest.mark.parametrize("size", [1, 24, 25, 1000, 200_000])
def test_what_glibc_gave_out_is_known_by_its_chunk(size: int) -> None:
    address = LIBC.malloc(ctypes.c_size_t(size))
    with ProcessMemory(os.getpid()) as memory:
        found = chunks(memory).given_out(address)
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
        assert chunks(memory).given_out(address) == Range(address, address + 8)


@pytest.mark.parametrize("before", [0x400, 0x401, 0x405])
def test_in_memory_that_is_no_heap_nothing_is_a_size(before: int) -> None:
    with mmap.mmap(-1, 1 << 16) as pool, ProcessMemory(os.getpid()) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(pool)) + 64
        for at in range(56, 1 << 16, 64):
            pool[at : at + 8] = before.to_bytes(8, "little")
        assert chunks(memory).given_out(address) == Range(address, address + 8)


def test_what_a_thread_got_from_its_own_arena_is_known() -> None:
    found = []

    def get() -> None:
        address = LIBC.malloc(ctypes.c_size_t(3000))
        with ProcessMemory(os.getpid()) as memory:
            found.append((address, chunks(memory).given_out(address)))
            found.append((in_arena(memory, address), in_arena(memory, 0x1000)))
        found.append((LIBC.malloc_usable_size(ctypes.c_void_p(address)),))
        LIBC.free(address)

    thread = threading.Thread(target=get)
    thread.start()
    thread.join()
    (address, given), seen, (usable,) = found
    assert seen == (True, False)
    assert given == Range(address, address + usable)


def test_what_cannot_be_read_is_one_word() -> None:
    with ProcessMemory(os.getpid()) as memory:
        assert chunks(memory).given_out(0x1000) == Range(0x1000, 0x1008)
