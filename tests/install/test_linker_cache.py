import os
import subprocess
import sys
from pathlib import Path

import pytest

from libswap.install import linker_cache
from libswap.install.content import Content, File, Link, Nothing
from libswap.install.transaction import Change
from libswap.linux.files import FileId
from support.compiler import Compiler, has
from support.site import library


def change(name: str, before: Content, after: Content) -> Change:
    return Change("/usr/lib", FileId(1, 1), name, before, after, None, "", None)


def file(soname: str | None) -> File:
    return File("", 0, soname, None, None, None)


@pytest.mark.parametrize(
    ("made", "outdated"),
    [
        (change("libx.so.1", file("libx.so.1"), file("libx.so.1")), False),
        (change("libx.so.1", file("libx.so.1"), file("libx.so.2")), True),
        (change("libx.so.1.2", Nothing(), file("libx.so.1")), True),
        (change("libx.so.1.2", file("libx.so.1"), Nothing()), True),
        (change("libx.so.1", Link("libx.so.1.1"), Link("libx.so.1.2")), False),
        (change("plugin", Nothing(), file(None)), False),
    ],
)
def test_only_a_new_name_or_soname_makes_the_cache_old(made: Change, *, outdated: bool) -> None:
    assert linker_cache.is_outdated_by([made], frozenset({"/usr/lib"})) is outdated
    assert not linker_cache.is_outdated_by([made], frozenset({"/opt"}))


def test_the_configuration_is_read_with_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "main").write_text(
        f"# a comment\ninclude conf.d/*.conf\ninclude {tmp_path}/main\n/opt/a # here\nrelative\n"
    )
    (tmp_path / "conf.d/x.conf").write_text("/opt/b=libc6\n\n/opt/c d\n")
    found = linker_cache.covered(str(tmp_path / "main"))
    assert found >= {"/opt/a", "/opt/b", os.path.realpath("/usr/lib")}
    assert "relative" not in found
    assert linker_cache.covered(str(tmp_path / "none")) <= found


@pytest.mark.namespaces
@pytest.mark.compiler
@pytest.mark.skipif(not has("ldconfig"), reason="no ldconfig")
def test_a_new_library_in_a_covered_directory_is_found_by_the_dynamic_linker(
    compiler: Compiler, tmp_path: Path
) -> None:
    """In a mount namespace of its own: what is written there vanishes with it."""
    source = tmp_path / "libswaptest.so.1.1"
    source.write_bytes(library(compiler, 1, soname="libswaptest.so.1").read_bytes())
    script = f"""
        set -e
        mount -t tmpfs -o mode=755 none /usr/local/lib
        mount -t tmpfs none /var/cache
        mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/work
        mount -t overlay -o lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work none /etc
        {sys.executable} -m libswap install {source} /usr/local/lib --state-dir {tmp_path}/state
        ldconfig -p | grep -F 'libswaptest.so.1 '
        {sys.executable} -m libswap rollback --yes --state-dir {tmp_path}/state
        ! ldconfig -p | grep -F 'libswaptest.so.1 '
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "=> /usr/local/lib/libswaptest.so.1" in done.stdout
    assert not Path("/usr/local/lib/libswaptest.so.1.1").exists()
