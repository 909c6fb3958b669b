import mmap
import os
from pathlib import Path

import pytest

from libswap.errors.process import ProcessGone
from libswap.process.maps import maps_of, parse

TEXT = rb"""55a0c0000000-55a0c0001000 r-xp 00002000 fe:01 131 /usr/bin/cat
7f0000000000-7f0000002000 rw-s 00000000 00:01 2064                       /memfd:x y (deleted)
7f0000003000-7f0000004000 ---p 00000000 00:00 0 
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291  the kernel leaves a blank there


def test_every_kind_of_line_is_parsed() -> None:
    code, memory, hole, stack, call = parse(TEXT)
    assert (code.start, code.end, code.offset) == (0x55A0C0000000, 0x55A0C0001000, 0x2000)
    assert (code.major, code.minor, code.inode, code.name) == (0xFE, 1, 131, b"/usr/bin/cat")
    assert (code.readable, code.writable, code.executable, code.shared) == (
        True,
        False,
        True,
        False,
    )
    assert (memory.name, memory.shared) == (b"/memfd:x y (deleted)", True)
    assert (hole.readable, hole.name, hole.inode) == (False, b"", 0)
    assert stack.name == b"[stack]"
    assert call.end == 0xFFFFFFFFFF601000


def test_a_line_that_is_no_mapping_is_passed_over() -> None:
    assert list(parse(b"rubbish\n" + TEXT.splitlines(keepends=True)[0] + b"7f00-cut")) != []
    assert len(list(parse(b"rubbish\n"))) == 0


@pytest.mark.parametrize(
    "name",
    ["plain.so", "two  blanks .so ", "new\nline.so", "gone.so (deleted)", "tab\t\x1b[2J", "ü"],
)
def test_a_mapped_file_of_any_name_is_found_under_that_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * 4096)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ):
        names = {m.name: m for m in maps_of(os.getpid())}
    assert names[os.fsencode(path)].inode == path.stat().st_ino


def test_a_process_that_ended_is_gone() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(ProcessGone):
        maps_of(child)
