import ctypes
import os
import shutil
from pathlib import Path

import pytest

from libswap.linux.procmap import FileKey
from libswap.process.namespaces import View
from libswap.scan.census import MappedFile
from libswap.scan.examiner import Examiner
from libswap.scan.lookup import lookup_of
from libswap.scan.stale import State, Superseded, Undecided
from libswap.scan.witness import LinkMapTooLong, Reads, Witness, _Memory
from support.compiler import Compiler
from support.holders import COUNTER, hold, holder

pytestmark = [pytest.mark.ptrace, pytest.mark.compiler]


def test_a_process_says_by_which_name_it_loaded_a_file() -> None:
    witness = Witness(os.getpid())
    libc = next(m for m in witness.mappings() if m.executable and b"/libc.so.6" in m.name)
    name = witness.loaded_as(FileKey(libc.inode, libc.major, libc.minor, libc.name))
    assert name is not None
    assert name.startswith("/")
    assert name.endswith("/libc.so.6")


def test_lists_that_have_no_end_are_read_so_far_and_no_further() -> None:
    text = ctypes.create_string_buffer(b"here")
    together = Reads(left=3)
    with open("/proc/self/mem", "rb") as own:  # noqa: PTH123
        first, second = (
            _Memory(Witness(os.getpid(), reads=together), own.fileno()) for _ in range(2)
        )
        for memory in (first, second, first):
            assert memory.read(ctypes.addressof(text), 4) == b"here"
        for memory in (first, second):
            with pytest.raises(LinkMapTooLong):
                memory.read(ctypes.addressof(text), 4)


def test_a_file_whose_name_would_take_too_many_reads_is_undecided(
    compiler: Compiler, tmp_path: Path
) -> None:
    library = Path(shutil.copy(compiler.library(COUNTER), tmp_path / "libcounter.so"))
    with hold(holder(compiler), "dlopen", library) as held:
        library.rename(tmp_path / "kept")
        shutil.copy(tmp_path / "kept", library)
        states = [_state(held.pid, tmp_path / "kept", reads) for reads in (1000, 3)]
    assert isinstance(states[0], Superseded)
    assert isinstance(states[1], Undecided), "not: current"


def _state(pid: int, path: Path, reads: int) -> State:
    """What becomes of a file where all processes together may cost so many reads."""
    examiner, view = Examiner(), View.of(pid)
    examiner._reads.left = reads
    (key, *_) = {
        FileKey(m.inode, m.major, m.minor, m.name)
        for m in examiner.witness(pid).mappings()
        if m.name == os.fsencode(path)
    }
    with lookup_of(view, [pid]) as lookup:
        return examiner.verdict(MappedFile(view, key), lookup, pid).state
