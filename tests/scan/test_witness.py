import ctypes
import os

import pytest

from libswap.errors.process import MemoryUnreachable
from libswap.linux.procmap import FileKey
from libswap.scan.witness import Witness, _Memory

pytestmark = pytest.mark.ptrace


def test_a_process_says_by_which_name_it_loaded_a_file() -> None:
    witness = Witness(os.getpid())
    libc = next(m for m in witness.mappings() if m.executable and b"/libc.so.6" in m.name)
    name = witness.loaded_as(FileKey(libc.inode, libc.major, libc.minor, libc.name))
    assert name is not None
    assert name.startswith("/")
    assert name.endswith("/libc.so.6")


def test_lists_that_have_no_end_are_read_so_far_and_no_further() -> None:
    text = ctypes.create_string_buffer(b"here")
    memory = _Memory(Witness(os.getpid()), left=2)
    for _ in range(2):
        assert memory.read(ctypes.addressof(text), 4) == b"here"
    with pytest.raises(MemoryUnreachable):
        memory.read(ctypes.addressof(text), 4)
