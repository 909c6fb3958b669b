"""A Debian machine in namespaces: systemd as PID 1, over an overlay of this machine's own root."""

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_SCRIPTS: Final = Path(__file__).parents[2] / "fixtures" / "machine"
_NAMESPACES: Final = ("--mount", "--pid", "--uts", "--ipc", "--net")
_PATIENCE: Final = 60.0  # seconds, for the boot


@dataclass(frozen=True, slots=True)
class Machine:
    """A running systemd.

    Attributes:
        pid: its PID 1 as we see it.
        share: a directory of ours that it sees as /mnt.
    """

    pid: int
    share: Path

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in all its namespaces; its cgroup stays ours."""
        return entered(self.pid, *command, check=check)

    def libswap(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the libswap that is being tested, with a state directory of the machine's own."""
        return self.run(sys.executable, "-m", "libswap", *words, check=check)

    def unit(self, name: str, text: str) -> None:
        """Put a unit file there and let systemd read it."""
        (self.share / name).write_text(text)
        self.run("install", "-m644", f"/mnt/{name}", "/etc/systemd/system/")
        self.run("systemctl", "daemon-reload")

    def main_pid(self, unit: str) -> int:
        """The main process of a unit, as the machine numbers it."""
        return int(self.run("systemctl", "show", "-PMainPID", "--", unit).stdout)


def entered(pid: int, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in all namespaces of a process."""
    return subprocess.run(
        ["nsenter", f"--target={pid}", "--all", "--wdns=/", "--", *map(str, command)],
        capture_output=True, text=True, check=check, stdin=subprocess.DEVNULL, timeout=_PATIENCE,
    )  # fmt: skip


@contextmanager
def machine(work: Path) -> Iterator[Machine]:
    """Boot it; it ends with all its processes and all that was written."""
    if reason := no_root("/lib/systemd/systemd") or _no_cgroups():
        pytest.skip(reason)
    cgroup = _unified() / f"libswap-{os.getpid()}"
    cgroup.mkdir()
    (work / "share").mkdir()
    enter = ("sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "enter", str(cgroup))
    try:
        with started(work, "systemd.sh", "--cgroup", before=enter) as pid:
            yield Machine(pid, work / "share")
    finally:
        _remove(cgroup)


@contextmanager
def started(work: Path, script: str, *namespaces: str, before: Sequence[str] = ()) -> Iterator[int]:
    """Run a script of fixtures/machine in a root of its own, until it says READY=1 to /mnt/notify.

    Yields:
        the PID of the one that said so, as we see it (unix(7), SCM_CREDENTIALS).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notices.bind(str(work / "share" / "notify"))
        notices.settimeout(_PATIENCE)
        holder = subprocess.Popen(
            [*before, "unshare", *_NAMESPACES, *namespaces, "--fork", "--kill-child",
             "sh", str(_SCRIPTS / "root.sh"), str(work), "sh", str(_SCRIPTS / script)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield _ready(notices, holder)
        finally:
            holder.kill()
            holder.communicate()


def _ready(notices: socket.socket, holder: subprocess.Popen[str]) -> int:
    while True:
        try:
            text, [(_, _, credentials)], *_ = notices.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            holder.kill()
            pytest.fail(f"it did not start: {holder.communicate()[1]}")
        if b"READY=1" in text.split(b"\n"):
            return int(struct.unpack("3i", credentials)[0])


def no_root(*programs: str) -> str:
    """Why no root can be made in which these programs run, "" where it can."""
    tools = ("unshare", "nsenter", "pivot_root", "ip", *programs)
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        return f"no {', '.join(missing)}"
    if Path(sys.prefix).stat().st_dev != Path("/").stat().st_dev:
        return "Python is on another file system than /, which the overlay does not show"
    return ""


def _no_cgroups() -> str:
    return "" if (_unified() / "cgroup.procs").exists() else "no cgroup2 hierarchy"


def _unified() -> Path:
    """Where version 2 of the control groups is mounted (cgroups(7))."""
    hybrid = Path("/sys/fs/cgroup/unified")
    return hybrid if hybrid.exists() else Path("/sys/fs/cgroup")


def _remove(cgroup: Path) -> None:
    """Remove control groups from the deepest up, when their last process is reaped (cgroups(7))."""
    with (cgroup / "cgroup.events").open() as events:
        changed = select.poll()
        changed.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            changed.poll()
            events.seek(0)
    for directory, _, _ in os.walk(cgroup, topdown=False):
        Path(directory).rmdir()
