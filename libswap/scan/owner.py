"""Who a process is to a person: its user, its command, its service."""

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libswap.linux.procfs import PROC, Procfs
from libswap.process.identity import Identity
from libswap.scan.pid_files import read_pid_files, service_of_script
from libswap.scan.services import Service, ServiceKind, service_of_cgroup

_MAX_ANCESTORS: Final = 64
_MAX_COMMAND: Final = 1 << 16


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process.

    Attributes:
        identity: PID and start time.
        started: seconds since the epoch.
        uid: real user id.
        user: that user's name, or the number where it has none.
        command: its arguments as it shows them, which it can change; at most 64 KiB of them.
        name: its short name, proc_pid_comm(5).
        service: what to restart.
        parent: the PID of its parent; 0 where it has none here.
    """

    identity: Identity
    started: float
    uid: int
    user: str
    command: tuple[str, ...]
    name: str
    service: Service
    parent: int = 0


@dataclass(slots=True)
class Registry:
    """Looks processes up, and remembers what is the same for many of them."""

    procfs: Procfs = PROC
    _users: dict[int, str] = field(default_factory=dict)
    _pid_files: dict[int, str] | None = None

    def process(self, identity: Identity) -> Process:
        """The facts of a process.

        Raises:
            ProcessGone: it has ended, or its PID is another's by now.
            OSError: the kernel hides one of its files.
        """
        pid, read = identity.pid, self.procfs.read
        status = _status(read(pid, "status"))
        uid = int(status[b"Uid"].split()[0])
        command = read(pid, "cmdline")[:_MAX_COMMAND].removesuffix(b"\0")
        found = Process(
            identity=identity,
            started=identity.started_at(),
            uid=uid,
            user=self.user(uid),
            command=tuple(map(os.fsdecode, command.split(b"\0"))) if command else (),
            name=os.fsdecode(read(pid, "comm").removesuffix(b"\n")),
            service=self._service(pid, read(pid, "cgroup")),
            parent=int(status.get(b"PPid", 0)),
        )
        identity.check(self.procfs)
        return found

    def user(self, uid: int) -> str:
        """A user's name, or the number."""
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self._users[uid] = str(uid)
        return self._users[uid]

    def _service(self, pid: int, cgroup: bytes) -> Service:
        found = service_of_cgroup(cgroup, self.user)
        if found is None:
            if self._pid_files is None:
                self._pid_files = read_pid_files()
            found = service_of_script(self.ancestry(pid), self._pid_files)
        if found is None and pid == 1:
            return Service(ServiceKind.INIT.value, "init", "", "reboot")
        return found or Service(ServiceKind.NONE.value, "", "", "restart it the way it was started")

    def ancestry(self, pid: int) -> Iterator[int]:
        """A process, its parent, that one's parent, and so on."""
        for _ in range(_MAX_ANCESTORS):
            yield pid
            try:
                pid = int(self.procfs.read(pid, "stat").rpartition(b")")[2].split()[1])
            except OSError:
                return
            if pid == 0:
                return


def _status(text: bytes) -> dict[bytes, bytes]:
    """The lines of proc_pid_status(5) by their names."""
    return {name: value for name, _, value in (line.partition(b":") for line in text.split(b"\n"))}
