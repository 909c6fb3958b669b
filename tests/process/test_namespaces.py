import os
from pathlib import Path

import pytest

from libswap.linux.rooted import Root
from libswap.process.namespaces import View, root_of


def test_a_name_below_the_root_is_seen_without_it_and_one_outside_not_at_all() -> None:
    jail = View(1, "/srv/jail")
    assert jail.seen("/srv/jail/lib/x.so") == "/lib/x.so"
    assert jail.seen("/srv/jailbreak/x.so") is None
    assert jail.seen("/lib/x.so") is None
    assert View(1, "/").seen("/lib/x.so") == "/lib/x.so"


def test_an_absolute_link_inside_a_root_cannot_lead_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("outside")
    jail = tmp_path / "jail"
    jail.mkdir()
    (jail / "up").symlink_to("../../../../secret")
    (jail / "absolute").symlink_to(outside)
    (jail / "etc").symlink_to("/")
    (jail / "file").write_text("inside")
    with Root.open(str(jail)) as root:
        for path in ("/up", "/absolute", "/proc/self/exe"):
            with pytest.raises(FileNotFoundError):
                root.stat(path)
        assert root.stat("/etc/file").st_size == len("inside")


def test_a_pipe_in_a_foreign_root_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with Root.open(str(tmp_path)) as root, pytest.raises(OSError, match="not a regular file"):
        root.open_regular("/pipe")


def test_our_own_root_is_what_we_see() -> None:
    with root_of(os.getpid()) as root:
        assert root.stat("/proc").st_ino == Path("/proc").stat().st_ino
