import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.elf.image import Image
from libswap.elf.notes import build_id
from libswap.linux.procmap import _LAYOUT, FileKey, ProcmapQuery
from libswap.process.maps import maps_of
from libswap.scan.scanner import scan
from support.compiler import Compiler
from support.holders import COUNTER, hold, holder


@pytest.fixture
def own_maps() -> Iterator[int]:
    descriptor = os.open("/proc/self/maps", os.O_RDONLY)
    try:
        ProcmapQuery().executable_files(descriptor)
    except OSError as error:
        pytest.skip(f"this kernel has no PROCMAP_QUERY: {error}")
    yield descriptor
    os.close(descriptor)


def test_the_query_and_the_text_tell_the_same_files(own_maps: int) -> None:
    asked = [FileKey.unpack(raw) for raw in ProcmapQuery().executable_files(own_maps)]
    read = [
        FileKey(m.inode, m.major, m.minor, m.name)
        for m in maps_of(os.getpid())
        if m.executable and m.inode
    ]
    assert asked == read
    assert [FileKey.unpack(key.pack()) for key in asked] == asked


def test_the_build_id_is_that_of_the_mapped_file(own_maps: int) -> None:
    mapping = next(m for m in maps_of(os.getpid()) if b"libc.so" in m.name)
    expected = build_id(Image.open(os.fsdecode(mapping.name)))
    assert ProcmapQuery().build_id(own_maps, mapping.start) == expected


@pytest.mark.compiler
@pytest.mark.usefixtures("own_maps")
def test_a_name_too_long_for_the_kernel_hides_nothing_but_itself(
    compiler: Compiler, tmp_path: Path
) -> None:
    """A path may grow beyond PATH_MAX by renames from below; what is mapped besides is listed."""
    library = compiler.library(COUNTER)
    here = os.open(".", os.O_PATH)
    try:
        os.chdir(tmp_path)
        for _ in range(30):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("lib.so").write_bytes(library.read_bytes())
        with hold(holder(compiler), "code", "lib.so") as held:
            descriptor = os.open(f"/proc/{held.pid}/maps", os.O_RDONLY)
            keys = [FileKey.unpack(raw) for raw in ProcmapQuery().executable_files(descriptor)]
            os.close(descriptor)
            inode = Path("lib.so").stat().st_ino
            doubt = [user.process.identity.pid for user in scan().undecided]
        assert [key.name for key in keys if key.inode == inode] == [b""]
        assert any(b"libc.so" in key.name for key in keys)
        assert held.pid in doubt
    finally:
        os.fchdir(here)
        os.close(here)


def test_the_request_has_the_size_that_the_kernel_expects() -> None:
    assert _LAYOUT.size == 13 * ctypes.sizeof(ctypes.c_uint64)
