import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from libswap.errors.install import NoSpace, Unfinished
from libswap.operations import history, install, recover
from support.compiler import Compiler
from support.site import Site, library

pytestmark = [pytest.mark.compiler, pytest.mark.root, pytest.mark.namespaces]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    point = tmp_path / "small"
    point.mkdir()
    options = "size=1m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def fill(point: Path, leave: int = 0) -> None:
    """Write until the file system is full, but for some bytes."""
    descriptor = os.open(point / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - leave)
    finally:
        os.close(descriptor)


def test_too_little_space_is_said_before_anything_is_done(
    compiler: Compiler, small: Path, tmp_path: Path
) -> None:
    site = Site(small)
    real = site.place(library(compiler, 1), "libx.so.1")
    fill(small, leave=64 << 10)
    big = tmp_path / "big.so"
    big.write_bytes(library(compiler, 2).read_bytes() + bytes(1 << 20))
    with pytest.raises(NoSpace, match=r"bytes are needed and [0-9,]+ are free"):
        site.plan(big, to=real)
    assert not site.settings.state_dir.exists()


@pytest.mark.parametrize("leave", range(0, 40 << 10, 4 << 10))
def test_a_disk_that_fills_up_in_the_middle_loses_nothing(
    compiler: Compiler, small: Path, leave: int
) -> None:
    site = Site(small)
    old, new = library(compiler, 1), library(compiler, 2)
    real = site.place(old, "libx.so.1")
    plan = site.plan(new, to=real)
    fill(small, leave)
    try:
        install.carry_out(plan, site.settings)
    except NoSpace:
        assert real.read_bytes() == old.read_bytes()
    except Unfinished:  # full exactly when the history was to be written
        assert real.read_bytes() == new.read_bytes()
    else:
        assert real.read_bytes() == new.read_bytes()
    assert site.names() == ["libx.so.1"]
    (small / "filler").unlink()
    recover.carry_out(site.settings)
    if real.read_bytes() == old.read_bytes():
        site.install(new, to=real)
    assert history.tell(site.settings).operations[0].transaction.changes[0].path == str(real)


def test_a_full_disk_of_the_state_loses_nothing_either(
    compiler: Compiler, small: Path, site: Site
) -> None:
    old = library(compiler, 1)
    real = site.place(old, "libx.so.1")
    settings = replace(site.settings, state_dir=small / "state")
    plan = install.plan(site.request(library(compiler, 2), to=real), settings)
    fill(small)
    with pytest.raises(NoSpace):
        install.carry_out(plan, settings)
    assert real.read_bytes() == old.read_bytes()
    assert site.names() == ["libx.so.1"]
