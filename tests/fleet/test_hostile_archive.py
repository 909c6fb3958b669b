"""An archive that is not ours where a machine looks for one is not run and unpacks nothing."""

import hashlib
import importlib.util
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

import libswap.fleet
from libswap.fleet.bundle import bundle

_MODULES = "ansible_collections/libswap/fleet/plugins/module_utils"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "libswap.pyz"
    path.write_bytes(bundle().data)
    bundle.cache_clear()
    return path


def link(file: ZipFile) -> None:
    info = ZipInfo("native/iced_x86/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(info, "/etc")


def bomb(file: ZipFile) -> None:
    with file.open(ZipInfo("native/iced_x86/zeros"), "w", force_zip64=True) as entry:
        for _ in range(257):
            entry.write(bytes(1 << 20))


def many(file: ZipFile) -> None:
    for number in range(20_001):
        file.writestr(ZipInfo(f"native/iced_x86/{number}"), b"")


@pytest.mark.scenario("fleet", ("an archive with links, ways out of it, a bomb",),
                      live="refused: InvalidArchive; nothing is unpacked")  # fmt: skip
@pytest.mark.parametrize(
    "add",
    [
        lambda file: file.writestr("native/iced_x86/../../../escaped", "x"),
        lambda file: file.writestr("/native/iced_x86/escaped", "x"),
        link,
        bomb,
        many,
    ],
    ids=["way out", "absolute", "link", "bomb", "many"],
)
def test_one_that_holds_what_ours_does_not_is_not_unpacked(
    ours: Path, tmp_path: Path, add: Callable[[ZipFile], None]
) -> None:
    hostile, room = tmp_path / "hostile.pyz", tmp_path / "room"
    room.mkdir()
    hostile.write_bytes(ours.read_bytes())
    with ZipFile(hostile, "a", compression=ZIP_DEFLATED, compresslevel=1) as file:
        add(file)
    done = subprocess.run(
        [sys.executable, "-I", "-S", hostile, "handles"], capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(room)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (52, ""), done
    assert "is not run" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(room.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile.pyz", "room"]


class Failed(Exception):
    """fail_json was called."""


def tool(**params: Any) -> str:
    """What runs on the machine: the path of the archive that it would run."""
    path = Path(libswap.fleet.__file__).parent / _MODULES / "tool.py"
    spec = importlib.util.spec_from_file_location("tool", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)

    def fail(msg: str, **_: object) -> NoReturn:
        raise Failed(msg)

    module = SimpleNamespace(params={"keep_tool": True, **params}, fail_json=fail)
    return str(loaded._tool(module))


@pytest.mark.scenario("fleet", ("an archive with other bytes than were sent",), live="not run")
def test_other_bytes_than_those_that_were_sent_are_not_run(tmp_path: Path) -> None:
    place = tmp_path / "tool"
    place.mkdir(mode=0o700)
    wanted = hashlib.sha256(b"ours").hexdigest()
    kept = place / f"{wanted}.pyz"
    kept.write_bytes(b"somebody else's")
    with pytest.raises(Failed, match="not the one that was sent"):
        tool(tool=str(kept), tool_sha256=wanted, tool_dir=str(place))


@pytest.mark.scenario("fleet", ("a directory of archives that others can write to",),
                      live="not read, nothing of it run")  # fmt: skip
@pytest.mark.parametrize("hostile", ["pipe", "link"])
def test_a_directory_where_others_can_put_files_is_refused_unopened(
    tmp_path: Path, hostile: str
) -> None:
    place = tmp_path / "tool"
    place.mkdir()
    place.chmod(0o777)
    wanted = hashlib.sha256(b"ours").hexdigest()
    kept = place / f"{wanted}.pyz"
    if hostile == "pipe":
        os.mkfifo(kept)
    else:
        kept.symlink_to("/dev/zero")
    with pytest.raises(Failed, match="only we may write to"):
        tool(tool=str(kept), tool_sha256=wanted, tool_dir=str(place))


def test_of_a_directory_only_old_archives_are_removed(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir(mode=0o700)
    old = tmp_path / "place" / f"{'0' * 64}.pyz"
    cut_off, strange, below = Path(f"{old}.a_b4c5d6"), old.with_name("grep"), old.with_suffix("")
    for path in (old, cut_off, strange):
        path.touch()
    for path in (below, old.with_name(f"{'1' * 64}.pyz")):
        path.mkdir()
    for path in old.parent.iterdir():
        os.utime(path, (0, 0))
    given = tmp_path / "given"
    given.write_bytes(b"ours")
    wanted = hashlib.sha256(b"ours").hexdigest()
    kept = tool(tool=str(given), tool_sha256=wanted, tool_dir=str(old.parent))
    left = {path.name for path in old.parent.iterdir()}
    assert left == {Path(kept).name, "grep", below.name, f"{'1' * 64}.pyz"}
