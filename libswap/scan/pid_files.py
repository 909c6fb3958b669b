"""Pid files below /run: which init script started a daemon where systemd is not there."""

import os
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Final

from libswap.scan.services import Service, ServiceKind, shell_line

_MAX_FILES: Final = 4096
_MAX_BYTES: Final = 32


def read_pid_files(run: Path = Path("/run")) -> dict[int, str]:
    """The names of root's (and our own) pid files in `run` and one directory deeper, by PID."""
    found = {}
    for file in islice(chain(run.glob("*.pid"), run.glob("*/*.pid")), _MAX_FILES):
        pid = _pid_in(file)
        if pid is not None:
            found[pid] = file.stem
    return found


def _pid_in(file: Path) -> int | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _MAX_BYTES).strip()
        trusted = os.fstat(descriptor).st_uid in (0, os.geteuid())
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(text) if trusted and text.isdigit() else None


def service_of_script(
    ancestry: Iterable[int], pid_files: Mapping[int, str], scripts: Path = Path("/etc/init.d")
) -> Service | None:
    """The init script whose pid file names a process or one that it descends from.

    Args:
        ancestry: the process, its parent, and so on.
        pid_files: what `read_pid_files` returned.
        scripts: where the init scripts are.
    """
    for pid in ancestry:
        name = pid_files.get(pid)
        if name is not None and (scripts / name).is_file():
            return Service(ServiceKind.SCRIPT.value, name, shell_line(["service", name, "restart"]))
    return None
