import errno
import os
import stat
from pathlib import Path

import pytest

from libswap.errors.base import SystemRefused
from libswap.errors.install import NoSpace
from libswap.linux import files
from libswap.linux.files import CopyMethod, Directory


def copied(source: Path, target: Path, size: int) -> tuple[CopyMethod, bytes]:
    with source.open("rb") as old, target.open("xb") as new:
        method = files.copy(old.fileno(), new.fileno(), size, str(target))
    return method, target.read_bytes()


def test_create_refuses_a_name_that_exists_even_as_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    with Directory(str(tmp_path)) as directory, pytest.raises(SystemRefused, match="File exists"):
        directory.create("link")
    assert not (tmp_path / "elsewhere").exists()


def test_open_does_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with Directory(str(tmp_path)) as directory, pytest.raises(SystemRefused, match="symbolic link"):
        directory.open("link")


def test_a_directory_that_moved_is_still_the_one_that_was_opened(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with Directory(str(tmp_path / "here")) as directory:
        (tmp_path / "here").rename(tmp_path / "there")
        (tmp_path / "here").mkdir()
        os.close(directory.create("file"))
    assert (tmp_path / "there/file").exists()
    assert not (tmp_path / "here/file").exists()


@pytest.mark.root
def test_the_right_to_change_names_is_that_of_the_effective_user(tmp_path: Path) -> None:
    with Directory(str(tmp_path)) as directory:
        assert directory.may_be_changed()
        os.seteuid(65534)
        try:
            assert not directory.may_be_changed()
        finally:
            os.seteuid(0)


def test_a_file_system_that_keeps_no_count_is_not_taken_for_full() -> None:
    with Directory("/proc") as directory:
        assert directory.free_space() > 1 << 40


def test_a_directory_is_made_with_its_parents_and_its_mode(tmp_path: Path) -> None:
    with Directory.make(str(tmp_path / "a/b/c"), 0o700) as directory:
        assert stat.S_IMODE(directory.status.st_mode) == 0o700
    with Directory.make(str(tmp_path / "a/b/c"), 0o700):
        pass


def test_rename_that_may_not_replace_leaves_what_stands_there(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "there").write_text("there")
    with Directory(str(tmp_path)) as directory:
        with pytest.raises(SystemRefused, match="File exists"):
            directory.rename("new", "there", replace=False)
        assert (tmp_path / "there").read_text() == "there"
        directory.rename("new", "free", replace=False)
        directory.rename("free", "there")
    assert (tmp_path / "there").read_text() == "new"


def test_link_says_false_across_file_systems(tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    (tmp_path / "file").write_text("x")
    with Directory(str(tmp_path)) as here, Directory(str(shm)) as there:
        assert not here.link("file", there, "libswap-never-there")
        assert here.link("file", here, "second")
        with pytest.raises(SystemRefused, match="File exists"):
            here.link("file", here, "second")


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_copy_gives_the_same_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    assert copied(tmp_path / "source", tmp_path / "target", size)[1] == data


def test_copy_takes_no_more_than_the_size_of_a_source_that_grew(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"12345678")
    assert copied(tmp_path / "source", tmp_path / "target", 5)[1] == b"12345"


def test_copy_reads_and_writes_where_the_kernel_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    data = os.urandom(2_500_000)
    (tmp_path / "source").write_bytes(data)
    method, found = copied(tmp_path / "source", tmp_path / "target", len(data))
    assert (method, found) == (CopyMethod.READ_WRITE, data)


def test_an_error_in_the_middle_of_a_copy_is_no_reason_to_start_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.copy_file_range, 0

    def fail_second(*arguments: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(arguments[0], arguments[1], 10, *arguments[3:])

    monkeypatch.setattr(os, "copy_file_range", fail_second)
    (tmp_path / "source").write_bytes(b"x" * 100)
    with pytest.raises(NoSpace):
        copied(tmp_path / "source", tmp_path / "target", 100)


def test_unlink_says_whether_there_was_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with Directory(str(tmp_path)) as directory:
        assert directory.unlink("file")
        assert not directory.unlink("file")


def test_birth_time_lies_between_the_times_around_it(tmp_path: Path) -> None:
    with (tmp_path / "file").open("xb") as file:
        born = files.birth_time(file.fileno())
        assert born is None or abs(born - os.fstat(file.fileno()).st_mtime_ns) < 10**9
