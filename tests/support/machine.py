"""A Debian machine in namespaces: systemd as PID 1, over an overlay of this machine's own root."""

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_BOOT: Final = Path(__file__).parents[2] / "fixtures" / "machine" / "boot.sh"
_NAMESPACES: Final = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")
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
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "--wdns=/", "--", *map(str, command)],
            capture_output=True, text=True, check=check, stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
        )  # fmt: skip

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


@contextmanager
def machine(work: Path) -> Iterator[Machine]:
    """Boot it; it ends with all its processes and all that was written."""
    if reason := _refusal():
        pytest.skip(reason)
    cgroup = _unified() / f"libswap-{os.getpid()}"
    cgroup.mkdir()
    for name in ("share", "notify"):
        (work / name).mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notices.bind(str(work / "notify" / "socket"))
        holder = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "enter", str(cgroup),
             "unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", str(_BOOT), str(work)],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield Machine(_booted(notices, holder), work / "share")
        finally:
            holder.kill()
            holder.communicate()
            _remove(cgroup)


def _booted(notices: socket.socket, holder: subprocess.Popen[str]) -> int:
    """The sender of READY=1 (systemd(1), $NOTIFY_SOCKET; unix(7), SCM_CREDENTIALS)."""
    notices.settimeout(_PATIENCE)
    while True:
        try:
            text, [(_, _, credentials)], *_ = notices.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            holder.kill()
            pytest.fail(f"systemd did not start: {holder.communicate()[1]}")
        if b"READY=1" in text.split(b"\n"):
            return int(struct.unpack("3i", credentials)[0])


def _refusal() -> str:
    """Why it cannot be done here, "" where it can."""
    if not Path("/lib/systemd/systemd").exists():
        return "no systemd (Debian: systemd, dbus)"
    tools = ("unshare", "nsenter", "pivot_root", "ip")
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        return f"no {', '.join(missing)}"
    if not _unified().joinpath("cgroup.procs").exists():
        return "no cgroup2 hierarchy"
    if Path(sys.prefix).stat().st_dev != Path("/").stat().st_dev:
        return "Python is on another file system than /, which the overlay does not show"
    return ""


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
