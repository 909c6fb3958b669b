import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from libswap.errors.install import KeptFileDamaged, NothingToRollBack
from libswap.install.transaction import Kind
from libswap.operations import history, prune
from libswap.report.views.history import render
from libswap.settings import Settings
from support.compiler import Compiler
from support.site import Site, library

pytestmark = pytest.mark.compiler


def test_the_very_inode_comes_back(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    before = real.stat()
    site.install(library(compiler, 2), to=real)
    done = site.rollback()
    assert done.operation.transaction.kind is Kind.ROLLBACK
    assert (real.stat().st_ino, real.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert site.names() == ["libx.so.1"]


def test_a_rollback_can_be_rolled_back_again_and_again(compiler: Compiler, site: Site) -> None:
    versions = [library(compiler, v).read_bytes() for v in (1, 2)]
    real = site.place(library(compiler, 1), "libx.so.1")
    site.install(library(compiler, 2), to=real)
    for turn in range(5):
        site.rollback()
        assert real.read_bytes() == versions[turn % 2]
    assert len(site.store()) == 2


def test_an_older_operation_goes_only_after_the_newer_one(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    first = site.install(library(compiler, 2), to=real).operation
    second = site.install(library(compiler, 3), to=real).operation
    assert first is not None
    assert second is not None
    with pytest.raises(NothingToRollBack, match=f"by operation {second.transaction.id}"):
        site.rollback(first.transaction.id)
    site.rollback(second.transaction.id)
    site.rollback(first.transaction.id)
    assert real.read_bytes() == library(compiler, 1).read_bytes()


def test_a_file_that_somebody_else_replaced_is_left_alone(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    site.install(library(compiler, 2), to=real)
    real.write_bytes(b"somebody else's")
    with pytest.raises(NothingToRollBack, match="by something else than libswap"):
        site.rollback()
    assert real.read_bytes() == b"somebody else's"


def test_a_path_means_the_newest_change_of_the_file_it_leads_to(
    compiler: Compiler, site: Site
) -> None:
    one = site.place(library(compiler, 1), "libx.so.1.1", "libx.so.1")
    two = site.place(library(compiler, 1), "liby.so")
    site.install(library(compiler, 2), to=one)
    site.install(library(compiler, 2), to=two)
    site.rollback(str(site.lib / "libx.so.1"))
    assert one.read_bytes() == library(compiler, 1).read_bytes()
    assert two.read_bytes() == library(compiler, 2).read_bytes()


def test_prune_lets_nothing_go_that_a_damaged_line_may_need(compiler: Compiler, site: Site) -> None:
    site.install(library(compiler, 2), to=site.place(library(compiler, 1), "libx.so.1"))
    written = site.settings.state_dir / "history"
    os.truncate(written, written.stat().st_size - 1)
    plan = prune.plan(site.settings)
    assert (plan.entries, plan.unclear) == ((), plan.remaining)
    assert plan.remaining


@pytest.mark.parametrize("what", [None, "20200101-000000-abcd", "/nowhere/lib.so"])
def test_what_never_happened_cannot_be_rolled_back(site: Site, what: str | None) -> None:
    with pytest.raises(NothingToRollBack):
        site.rollback(what)


def test_a_kept_file_that_was_altered_is_not_brought_back(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    site.install(library(compiler, 2), to=real)
    (site.settings.state_dir / "store" / site.store()[0]).write_bytes(b"altered")
    with pytest.raises(KeptFileDamaged, match="altered"):
        site.rollback()
    assert real.read_bytes() == library(compiler, 2).read_bytes()


def test_across_file_systems_a_copy_comes_back_with_its_attributes(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    elsewhere = Path("/dev/shm") / f"libswap-{os.getpid()}"
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    elsewhere.mkdir(mode=0o700)
    try:
        real = elsewhere / "libx.so.1"
        real.write_bytes(library(compiler, 1).read_bytes())
        real.chmod(0o751)
        before = real.stat()
        site.install(library(compiler, 2), to=real)
        site.rollback()
        after = real.stat()
        assert real.read_bytes() == library(compiler, 1).read_bytes()
        assert stat.S_IMODE(after.st_mode) == 0o751
        assert after.st_mtime_ns == before.st_mtime_ns
        assert list(elsewhere.iterdir()) == [real]
    finally:
        for path in elsewhere.iterdir():
            path.unlink()
        elsewhere.rmdir()


def test_history_tells_newest_first_and_of_one_file(compiler: Compiler, site: Site) -> None:
    one = site.place(library(compiler, 1), "libx.so.1")
    two = site.place(library(compiler, 1), "liby.so")
    site.install(library(compiler, 2), to=one)
    site.install(library(compiler, 2), to=two)
    site.rollback()
    told = history.tell(site.settings)
    assert [o.transaction.kind.value for o in told.operations] == ["rollback", "install", "install"]
    assert told.operations[0].transaction.undoes == told.operations[1].transaction.id
    assert len(history.tell(site.settings, str(one)).operations) == 1
    assert len(history.tell(site.settings, limit=2).operations) == 2
    unknown = history.tell(site.settings, str(site.root / "nothing.so"))
    (said,) = render(unknown)
    assert "nothing.so" in str(said)


def test_prune_keeps_what_the_next_rollback_needs(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    for version in (2, 3, 4):
        site.install(library(compiler, version), to=real)
    tight = Settings(state_dir=site.settings.state_dir, store_max_files=0)
    assert len(prune.plan(tight).entries) == 2
    assert len(site.store()) == 3
    prune.carry_out(prune.plan(tight), tight)
    assert len(site.store()) == 1
    site.rollback()
    assert real.read_bytes() == library(compiler, 3).read_bytes()


def versioned(compiler: Compiler, site: Site, tmp_path: Path) -> Path:
    """1.1 is superseded by 1.2; returns the old one."""
    old = site.place(library(compiler, 1), "libx.so.1.1", "libx.so.1")
    new = tmp_path / "libx.so.1.2"
    new.write_bytes(library(compiler, 2).read_bytes())
    site.install(new)
    return old


def test_prune_takes_an_old_version_away_and_that_can_be_rolled_back(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    old = versioned(compiler, site, tmp_path)
    plan = prune.plan(site.settings)
    assert plan.versions is not None
    assert [change.path for change in plan.versions.changes] == [str(old)]
    done = prune.carry_out(plan, site.settings)
    assert site.names() == ["libx.so.1", "libx.so.1.2"]
    assert done.operation is not None
    first = history.tell(site.settings).operations[-1].transaction.id
    with pytest.raises(NothingToRollBack, match="is gone; if libswap pruned it"):
        site.rollback(first)
    site.rollback(done.operation.transaction.id)
    assert old.read_bytes() == library(compiler, 1).read_bytes()
    site.rollback(first)
    assert site.names() == ["libx.so.1", "libx.so.1.1"]


def test_prune_leaves_an_old_version_that_a_link_leads_to(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    versioned(compiler, site, tmp_path)
    (site.lib / "libx.so").symlink_to("libx.so.1.1")
    assert prune.plan(site.settings).versions is None


def test_prune_leaves_an_old_version_that_a_process_has_loaded(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    old = versioned(compiler, site, tmp_path)
    code = f"import ctypes; ctypes.CDLL({str(old)!r}); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert prune.plan(site.settings).versions is None
        child.communicate(b"\n")
