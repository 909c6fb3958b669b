"""Frozen or not, as the files of a control group hierarchy say it."""

from pathlib import Path

import pytest

from libswap.linux.procfs import Procfs
from libswap.process.freezer import frozen


def machine(root: Path, *, groups: str, mounts: str) -> Procfs:
    proc = root / "proc"
    for name, text in (("7/cgroup", groups), ("self/mountinfo", mounts)):
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(text)
    return Procfs(str(proc))


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [("cgroup.events", "populated 1\nfrozen 1\n", True),
     ("cgroup.events", "populated 1\nfrozen 0\n", False)],
)  # fmt: skip
def test_version_2(tmp_path: Path, file: str, text: str, *, expected: bool) -> None:
    group = tmp_path / "cgroup/a b/c"
    group.mkdir(parents=True)
    (group / file).write_text(text)
    mounts = f"31 23 0:28 / {tmp_path}/cgroup rw - cgroup2 cgroup2 rw\n"
    assert frozen(7, machine(tmp_path, groups="0::/a b/c\n", mounts=mounts)) is expected


@pytest.mark.parametrize(("state", "expected"), [("FROZEN", True), ("THAWED", False)])
def test_version_1_mounted_below_its_root(tmp_path: Path, state: str, *, expected: bool) -> None:
    group = tmp_path / "freezer/job"
    group.mkdir(parents=True)
    (group / "freezer.state").write_text(state + "\n")
    mounts = f"31 23 0:28 /docker/x {tmp_path}/freezer rw - cgroup cgroup rw,freezer\n"
    groups = "6:freezer:/docker/x/job\n0::/\n"
    assert frozen(7, machine(tmp_path, groups=groups, mounts=mounts)) is expected


def test_where_nothing_is_mounted_or_the_process_is_gone_nothing_is_claimed(tmp_path: Path) -> None:
    procfs = machine(tmp_path, groups="0::/\nstrange\n", mounts="")
    assert not frozen(7, procfs)
    assert not frozen(8, procfs)
