"""Whether the control group of a process is frozen (cgroups(7), both versions)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from libswap.linux.procfs import PROC, Procfs

_TEXT: Final = "surrogateescape"


def frozen(pid: int, procfs: Procfs = PROC) -> bool:
    """Whether its tasks are held until somebody thaws them; False where that cannot be seen."""
    with suppress(OSError, ValueError):
        groups = dict(_groups(procfs.read(pid, "cgroup")))
        for controllers, root, point in _hierarchies(procfs.read("self", "mountinfo")):
            path = groups.get(controllers)
            if path is not None and _is_frozen(Path(point, os.path.relpath(path, root))):
                return True
    return False


def _groups(text: bytes) -> Iterator[tuple[str, str]]:
    """Version ("" for 2, "freezer" for 1) and path of each group in /proc/PID/cgroup."""
    for line in text.decode(errors=_TEXT).splitlines():
        _, controllers, path = line.split(":", 2)
        yield ("freezer" if "freezer" in controllers.split(",") else controllers), path


def _hierarchies(mountinfo: bytes) -> Iterator[tuple[str, str, str]]:
    """Version as in `_groups`, root and mount point of each hierarchy that can freeze."""
    for line in mountinfo.decode(errors=_TEXT).splitlines():
        fields, _, kind = line.partition(" - ")
        root, point = fields.split()[3:5]
        if kind.startswith("cgroup2 "):
            yield "", root, point
        elif kind.startswith("cgroup ") and "freezer" in kind.split()[-1].split(","):
            yield "freezer", root, point


def _is_frozen(group: Path) -> bool:
    with suppress(FileNotFoundError):
        return "frozen 1" in (group / "cgroup.events").read_text().splitlines()
    with suppress(FileNotFoundError):
        return (group / "freezer.state").read_text().strip() != "THAWED"
    return False
