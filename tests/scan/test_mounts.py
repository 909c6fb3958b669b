"""Files that are seen through other roots, namespaces and file systems than ours."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libswap.linux.files import FileId
from libswap.scan.scanner import Scan, scan
from libswap.scan.stale import Deleted, Replaced, State
from libswap.scan.usage import users_of
from support.compiler import Compiler, has
from support.holders import COUNTER, hold, holder

pytestmark = [pytest.mark.compiler, pytest.mark.root, pytest.mark.namespaces]


def _states(found: Scan, pid: int) -> dict[str, State]:
    groups = [user for group in found.groups for user in group.users]
    everyone = (*groups, *found.same_build, *found.undecided)
    return {
        use.path: use.state for u in everyone if u.process.identity.pid == pid for use in u.uses
    }


@pytest.fixture
def program(compiler: Compiler) -> Path:
    return holder(compiler)


@pytest.fixture
def build(compiler: Compiler) -> Path:
    return compiler.library(COUNTER, "-Wl,--build-id=0xbb01", soname="libcounter.so.1")


@pytest.fixture
def newer(compiler: Compiler) -> Path:
    return compiler.library(COUNTER, "-Wl,--build-id=0xbb02", soname="libcounter.so.1")


def _replace(library: Path, source: Path) -> None:
    stage = library.with_name(".stage")
    shutil.copy(source, stage)
    stage.rename(library)


@contextmanager
def _image(work: Path, kind: str, point: Path) -> Iterator[None]:
    """A file system in a file, mounted for as long as the block runs."""
    file = work / f"{kind}.image"
    with file.open("wb") as sparse:
        sparse.truncate(128 << 20)
    made = subprocess.run([f"mkfs.{kind}", "-q", str(file)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"mkfs.{kind}: {made.stderr.decode()}")
    mounted = subprocess.run(["mount", "-o", "loop", str(file), str(point)], capture_output=True,
                             check=False)  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no {kind} here: {mounted.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.skipif(not has("mkfs.btrfs"), reason="no mkfs.btrfs (btrfs-progs)")
def test_on_btrfs_whose_maps_show_another_device_a_current_library_is_current(
    tmp_path: Path, program: Path, build: Path, newer: Path
) -> None:
    point = tmp_path / "btrfs"
    point.mkdir()
    with _image(tmp_path, "btrfs", point):
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(point / "sub")], check=True)
        library = Path(shutil.copy(build, point / "sub" / "libcounter.so.1"))
        with hold(program, "dlopen", library) as held:
            assert _states(scan(), held.pid) == {}
            (user,) = users_of([library]).users
            assert user.uses[0].file == FileId.of(library.stat())
            _replace(library, newer)
            assert isinstance(_states(scan(), held.pid)[str(library)], Replaced)


def test_on_an_overlay_a_library_is_current_until_the_upper_layer_replaces_it(
    tmp_path: Path, program: Path, build: Path, newer: Path
) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    shutil.copy(build, tmp_path / "lower" / "libcounter.so.1")
    layers = ",".join(f"{n}dir={tmp_path / n}" for n in ("lower", "upper", "work"))
    merged = tmp_path / "merged"
    command = ["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no overlayfs here: {done.stderr.decode()}")
    library = merged / "libcounter.so.1"
    try:
        with hold(program, "dlopen", library) as held:
            assert _states(scan(), held.pid) == {}
            assert [u.process.identity.pid for u in users_of([library]).users] == [held.pid]
            _replace(library, newer)
            assert isinstance(_states(scan(), held.pid)[str(library)], Replaced)
    finally:
        subprocess.run(["umount", str(merged)], check=True)


def test_in_a_private_mount_namespace_names_are_looked_up_there(
    tmp_path: Path, program: Path, build: Path, newer: Path
) -> None:
    """Two files of one name: the namespace's own is current, whatever happens to ours."""
    point = tmp_path / "library"
    point.mkdir()
    library = Path(shutil.copy(build, point / "libcounter.so.1"))
    covering = tmp_path / "covering"
    covering.mkdir()
    shutil.copy(build, covering / "libcounter.so.1")
    script = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    enter = ["unshare", "--mount", "--propagation=private", "sh", "-ec", script, "sh"]
    words = [*enter, str(covering), str(point), str(program), "dlopen", str(library)]
    with hold(words) as held:
        assert _states(scan(), held.pid) == {}
        _replace(library, newer)
        assert _states(scan(), held.pid) == {}, "ours is another file"
        assert users_of([library]).users == ()
        inner = Path(f"/proc/{held.pid}/root{library}")
        inner.unlink()
        assert isinstance(_states(scan(), held.pid)[str(library)], Deleted)


def test_a_service_with_a_namespace_of_its_own_uses_the_same_library_as_we_see(
    tmp_path: Path, program: Path, build: Path, newer: Path
) -> None:
    library = Path(shutil.copy(build, tmp_path / "libcounter.so.1"))
    with hold(["unshare", "--mount", str(program), "dlopen", str(library)]) as held:
        assert [u.process.identity.pid for u in users_of([library]).users] == [held.pid]
        _replace(library, newer)
        (user,) = users_of([library]).users
        assert isinstance(user.uses[0].state, Replaced)
        assert isinstance(_states(scan(), held.pid)[str(library)], Replaced)


def test_a_library_mapped_before_and_after_a_chroot_is_found_by_its_name_in_it(
    tmp_path: Path, program: Path, build: Path, newer: Path
) -> None:
    jail = tmp_path / "jail"
    jail.mkdir()
    inside = Path(shutil.copy(build, jail / "libinside.so"))
    outside = Path(shutil.copy(build, tmp_path / "liboutside.so"))
    words = ["dlopen", outside, "chroot", jail, "dlopen", "/libinside.so"]
    with hold(program, *words) as held:
        assert _states(scan(), held.pid) == {}
        _replace(inside, newer)
        _replace(outside, newer)
        states = _states(scan(), held.pid)
    assert isinstance(states["/libinside.so"], Replaced)
    assert isinstance(states[str(outside)], Replaced)


def test_a_link_in_a_chroot_cannot_point_the_scan_at_our_files(
    tmp_path: Path, program: Path, build: Path
) -> None:
    """The jail's owner replaces the library by a link to one of ours: it is looked up in there."""
    jail = tmp_path / "jail"
    jail.mkdir()
    inside = Path(shutil.copy(build, jail / "libinside.so"))
    with hold(program, "chroot", jail, "dlopen", "/libinside.so") as held:
        inside.unlink()
        inside.symlink_to(Path(os.path.realpath(build)))
        assert isinstance(_states(scan(), held.pid)["/libinside.so"], Deleted)


def test_a_file_bound_over_another_name_is_found_by_its_inode(
    tmp_path: Path, program: Path, build: Path
) -> None:
    library = Path(shutil.copy(build, tmp_path / "libcounter.so.1"))
    other = tmp_path / "bound.so"
    other.touch()
    subprocess.run(["mount", "--bind", str(library), str(other)], check=True)
    try:
        with hold(program, "dlopen", other) as held:
            assert [u.process.identity.pid for u in users_of([library]).users] == [held.pid]
            assert _states(scan(), held.pid) == {}
    finally:
        subprocess.run(["umount", str(other)], check=True)


def test_a_mount_that_was_detached_is_not_called_deleted(
    tmp_path: Path, program: Path, build: Path
) -> None:
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=True)
    library = Path(shutil.copy(build, point / "libcounter.so.1"))
    with hold(program, "dlopen", library) as held:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
        found = scan()
    assert held.pid in [user.process.identity.pid for user in found.undecided]
