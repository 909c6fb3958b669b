import os
from pathlib import Path

from libswap.linux.files import Directory
from libswap.linux.locks import try_lock


def test_a_lock_is_held_by_one_and_free_after_its_end(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        first = try_lock(directory, "lock", 0)
        assert first is not None
        assert try_lock(directory, "lock", 0.1) is None
        os.close(first)
        second = try_lock(directory, "lock", 0)
        assert second is not None
        os.close(second)


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with Directory(str(tmp_path)) as directory:
            try_lock(directory, "lock", 0)
            os.write(tell, b"locked")
            os.kill(os.getpid(), 9)
    assert os.read(ready, 6) == b"locked"
    os.waitpid(child, 0)
    os.close(ready)
    os.close(tell)
    with Directory(str(tmp_path)) as directory:
        held = try_lock(directory, "lock", 0)
        assert held is not None
        os.close(held)
