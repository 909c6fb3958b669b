"""An archive that is not ours where a machine looks for one is not run."""

import hashlib
import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

import libswap.fleet

_MODULES = "ansible_collections/libswap/fleet/plugins/module_utils"


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
