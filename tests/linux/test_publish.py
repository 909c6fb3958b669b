import os
import threading
from pathlib import Path

import pytest

from libswap.errors.base import SystemRefused
from libswap.linux.publish import publish, require_publishable


def test_a_reader_sees_the_old_or_the_new_contents_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "report"
    texts = {bytes([n]) * 100_000 for n in range(50)}
    publish(str(file), b"\0" * 100_000)
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for text in texts:
        publish(str(file), text)
    done.set()
    reader.join()
    assert seen <= texts
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo"])
def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    file, other = tmp_path / "report", tmp_path / "other"
    match kind:
        case "link":
            other.write_text("theirs")
            file.symlink_to(other)
        case "dangling":
            file.symlink_to(other)
        case "directory":
            file.mkdir()
        case "fifo":
            os.mkfifo(file)
    before = sorted(tmp_path.iterdir()), file.lstat()
    for attempt in (lambda: publish(str(file), b"ours"), lambda: require_publishable(str(file))):
        with pytest.raises(SystemRefused):
            attempt()
    assert (sorted(tmp_path.iterdir()), file.lstat()) == before
    assert kind != "link" or other.read_text() == "theirs"


@pytest.mark.parametrize("name", ["", "missing/report", "report/", "."])
def test_a_path_that_leads_nowhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemRefused):
        publish(name, b"")
    assert not list(tmp_path.iterdir())


def test_the_mode_is_the_umasks_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        publish(str(tmp_path / "a"), b"")
        publish(str(tmp_path / "b"), b"", 0o644)
    finally:
        os.umask(old)
    assert [(tmp_path / n).stat().st_mode & 0o777 for n in "ab"] == [0o640, 0o644]


def test_a_long_name_has_room_for_its_stage(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 255)
    publish(str(file), b"x")
    assert file.read_bytes() == b"x"


def test_before_the_work_it_is_known_whether_we_may_write(tmp_path: Path) -> None:
    file = tmp_path / "report"
    require_publishable(str(file))
    file.touch()
    require_publishable(str(file))
    with pytest.raises(SystemRefused):
        require_publishable("/proc/self/report")
