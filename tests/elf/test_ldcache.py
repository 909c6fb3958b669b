import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libswap.elf.ldcache import Cache, Entry
from support.compiler import Compiler, has

SOURCE = "int leaf(void) { return 1; }\n"


@pytest.fixture
def written(compiler: Compiler, tmp_path: Path) -> bytes:
    """A cache that ldconfig wrote for a plain library and a better build of it."""
    leaf = compiler.library(SOURCE, name="libleaf.so.1", soname="libleaf.so.1")
    for directory in ("opt/a", "opt/a/glibc-hwcaps/x86-64-v3", "opt/b", "etc"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        shutil.copy(leaf, tmp_path / directory)
    (tmp_path / "etc/ld.so.conf").write_text("/opt/a\n/opt/b\n")
    words = ["ldconfig", "-r", tmp_path, "-X"]
    subprocess.run(words, check=True, capture_output=True)
    return (tmp_path / "etc/ld.so.cache").read_bytes()


@pytest.mark.compiler
@pytest.mark.skipif(not has("ldconfig"), reason="no ldconfig")
def test_what_ldconfig_wrote_is_read(written: bytes) -> None:
    cache = Cache.parse(written)
    better = Entry("/opt/a/glibc-hwcaps/x86-64-v3/libleaf.so.1", "x86-64-v3")
    assert better in cache.entries["libleaf.so.1"]
    assert next(cache.paths("libleaf.so.1", ())) == "/opt/a/libleaf.so.1"
    assert next(cache.paths("libleaf.so.1", ("x86-64-v3",))) == better.path
    assert list(cache.paths("libother.so", ())) == []


@pytest.mark.compiler
@pytest.mark.skipif(not has("ldconfig"), reason="no ldconfig")
def test_the_table_for_ancient_linkers_in_front_is_skipped(written: bytes) -> None:
    old = b"ld.so-1.7.0\0" + (1).to_bytes(4, "little") + bytes(12)
    padded = old + bytes(-len(old) % 8)
    assert Cache.parse(padded + written) == Cache.parse(written)


@pytest.mark.compiler
@pytest.mark.skipif(not has("ldconfig"), reason="no ldconfig")
def test_no_truncated_cache_is_more_than_a_smaller_one(written: bytes) -> None:
    for length in range(0, len(written), 7):
        Cache.parse(written[:length])


@given(st.binary(max_size=400), st.integers(0, 1 << 32))
def test_no_bytes_behind_the_magic_are_trusted(data: bytes, count: int) -> None:
    cache = Cache.parse(b"glibc-ld.so.cache1.1" + (count % (1 << 32)).to_bytes(4, "little") + data)
    assert len(cache.entries) <= 20
