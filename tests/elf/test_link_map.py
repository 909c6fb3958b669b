import shutil
import struct
from pathlib import Path

import pytest

from libswap.elf.link_map import parse_auxv, read_loader
from libswap.errors.live import LinkMapUnreadable
from libswap.linux.memory import ProcessMemory
from libswap.linux.procfs import PROC
from support.compiler import Compiler
from support.driven import running
from support.memory import FakeMemory

AUXV = {3: 0x1000, 4: 56, 5: 1, 7: 0x9000}
DEBUG = 0x3000


def _phdr(kind: int, vaddr: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, 0, 0, vaddr, vaddr, 0, 0, 0)


def _program(*maps: bytes, version: int = 1, after: int = 0) -> FakeMemory:
    """A non-PIE program at 0x1000 whose link maps lie at 0x4000, 64 bytes apart."""
    debug = struct.pack("<i4xQQi4xQQ", version, 0x4000 if maps else 0, 0, 0, 0, after)
    return FakeMemory(
        {
            0x1000: _phdr(2, 0x2000),
            0x2000: struct.pack("<QQQQ", 21, DEBUG, 0, 0),
            DEBUG: debug,
            0x4000: b"".join(m.ljust(64, b"\0") for m in maps),
        }
    )


def _map(base: int, after: int, before: int) -> bytes:
    return struct.pack("<5Q", base, 0, 0x7000, after, before)


def test_every_module_of_a_list_is_found_in_order() -> None:
    memory = _program(_map(1, 0x4040, 0), _map(2, 0, 0x4000))
    assert [m.base for m in read_loader(memory, AUXV).maps] == [1, 2]


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (_program(_map(1, 0x4000, 0)), "not linked"),
        (_program(_map(1, 0x4040, 0), _map(2, 0x4040, 0x4000)), "not linked"),
        (_program(_map(1, 0x666000, 0)), "0x666000"),
        (_program(_map(1, 0, 0), version=2, after=DEBUG), "no end"),
        (_program(_map(1, 0, 0), version=-5), "version -5"),
    ],
)
def test_a_damaged_list_is_a_clear_error_and_never_endless(memory: FakeMemory, words: str) -> None:
    with pytest.raises(LinkMapUnreadable, match=words):
        read_loader(memory, AUXV)


def test_a_static_program_is_told_from_one_with_a_loader() -> None:
    with pytest.raises(LinkMapUnreadable, match="statically linked"):
        read_loader(FakeMemory({}), {3: 0x1000, 4: 56, 5: 1})


@pytest.mark.compiler
@pytest.mark.parametrize("flags", [(), ("-no-pie",)])
def test_the_modules_of_a_real_process_are_found(
    compiler: Compiler, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    made = compiler.library("live/version.c", "-DVERSION=1", name="libversion.so")
    library = Path(shutil.copy(made, tmp_path))
    program = compiler.program(
        "live/driver.c", *flags, str(library), f"-Wl,-rpath,{library.parent}"
    )
    with running([program]) as target:
        found = [Path(m.path).name for m in target.modules()]
        assert found[:3] == ["driver", "libversion.so", "libc.so.6"]
        assert target.loader().consistent
        library.unlink()
        assert target.module("libversion.so").facts.exported, "a removed file is still read"


@pytest.mark.compiler
def test_the_modules_of_every_namespace_are_found(compiler: Compiler) -> None:
    library = compiler.library("live/version.c", "-DVERSION=1", name="libversion.so")
    program = compiler.program(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdio.h>\n"
        "int main(int c, char **v) { dlmopen(LM_ID_NEWLM, v[1], RTLD_NOW);"
        ' dlopen(v[1], RTLD_NOW); puts("ready"); fflush(stdout); return getchar(); }'
    )
    with running([program, library]) as target:
        spaces = [m.link.namespace for m in target.modules() if m.path.endswith("libversion.so")]
        assert spaces == [0, 1]


def test_our_own_modules_are_found() -> None:
    with ProcessMemory(int(Path("/proc/self").resolve().name)) as memory:
        assert read_loader(memory, parse_auxv(PROC.read("self", "auxv"))).maps
