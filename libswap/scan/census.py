"""Which files every process has mapped to execute, each different file once."""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from libswap.linux.procfs import PROC, Procfs, read_all
from libswap.linux.procmap import FileKey, ProcmapQuery
from libswap.process.identity import parse_start_time
from libswap.process.maps import parse
from libswap.process.namespaces import View
from libswap.scan.shares import Shares

NO_MEMORY = (errno.ENOENT, errno.ESRCH)
"""It ended, is a zombie, or is a thread of the kernel: it maps nothing."""


class MappedFile(NamedTuple):
    """A file as one or more processes of the same view have it mapped."""

    view: View
    key: FileKey


@dataclass(frozen=True, slots=True, order=True)
class Uninspected:
    """A process that could not be looked at.

    Attributes:
        pid: its PID.
        command: its short name, proc_pid_comm(5).
        reason: what the kernel said.
    """

    pid: int
    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class Census:
    """What all processes map.

    Attributes:
        mapped: the PIDs that map each file, for each view from which files are seen.
        starts: when each of them started, in clock ticks from boot; read before what it maps, so
            that a PID which was given anew meanwhile shows.
        uninspected: those that could not be looked at.
    """

    mapped: dict[View, dict[FileKey, list[int]]]
    starts: dict[int, int]
    uninspected: tuple[Uninspected, ...]

    @property
    def processes(self) -> int:
        """How many were looked at (threads of the kernel and zombies are none)."""
        return len(self.starts)


_Found: TypeAlias = dict[tuple[str, str], dict[bytes, list[int]]]
"""PIDs by packed `FileKey`, by the links ns/mnt and root."""

_Part: TypeAlias = tuple[_Found, dict[int, int], list[tuple[int, str, str]]]
"""A part of a census in built-in types: what is mapped, who was looked at and who was not."""


class Looking:
    """A census that has begun, in children of ours where there is much to look at."""

    def __init__(self, procfs: Procfs = PROC) -> None:
        self._shares = Shares(list(procfs.other_pids()), lambda pids: _Taker(procfs).look(pids))

    def census(self) -> Census:
        """Look at every process that nobody has; those that end meanwhile are left out."""
        mapped: dict[View, dict[FileKey, list[int]]] = {}
        starts: dict[int, int] = {}
        missed = []
        for found, some_starts, some in self._shares.parts():
            starts |= some_starts
            missed += [Uninspected(*one) for one in some]
            for (namespace, root), files in found.items():
                view = mapped.setdefault(View.read(namespace, root), {})
                for raw, mappers in files.items():
                    view.setdefault(FileKey.unpack(raw), []).extend(mappers)
        return Census(mapped, starts, tuple(sorted(missed)))


class _Taker:
    """Visits some processes, once each."""

    def __init__(self, procfs: Procfs) -> None:
        self._procfs = procfs
        self._query: ProcmapQuery | None = ProcmapQuery()
        self._found: _Found = {}
        self._starts: dict[int, int] = {}

    def look(self, pids: Iterable[int]) -> _Part:
        missed = []
        for pid in pids:
            try:
                if not self._visit(pid):
                    self._visit_other_thread(pid)
            except OSError as error:
                if error.errno not in NO_MEMORY:
                    one = uninspected(pid, error, self._procfs)
                    missed.append((one.pid, one.command, one.reason))
        return self._found, self._starts, missed

    def _visit(self, pid: int) -> bool:
        try:
            start = parse_start_time(self._procfs.read_line(pid, "stat"))
            keys = self._keys(pid)
        except OSError as error:
            if error.errno in NO_MEMORY:
                return False
            raise
        if not keys:
            return False
        link = self._procfs.link
        view = link(pid, "ns/mnt"), link(pid, "root")
        self._starts[pid] = start
        files = self._found.get(view)
        if files is None:
            files = self._found[view] = {}
        for key in keys:
            if (pids := files.get(key)) is None:
                files[key] = [pid]
            elif pids[-1] != pid:
                pids.append(pid)
        return True

    def _visit_other_thread(self, pid: int) -> None:
        tid = other_thread(pid, self._procfs)
        if tid is not None:
            self._visit(tid)

    def _keys(self, pid: int) -> list[bytes]:
        descriptor = os.open(self._procfs.path(pid, "maps"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._query is not None:
                try:
                    return self._query.executable_files(descriptor)
                except OSError as error:
                    if error.errno not in (errno.ENOTTY, errno.EINVAL):
                        raise
                    self._query = None
            return [
                FileKey(m.inode, m.major, m.minor, m.name).pack()
                for m in parse(read_all(descriptor))
                if m.executable and m.inode
            ]
        finally:
            os.close(descriptor)


def other_thread(pid: int, procfs: Procfs = PROC) -> int | None:
    """A thread that shows the memory of a process whose PID does not; None for none.

    When the first thread has ended and others go on, /proc/PID is that of a zombie, and only the
    directories of the others, which are not listed in /proc, show what they share.
    """
    try:
        return next((tid for tid in procfs.tids(pid) if tid != pid), None)
    except OSError:
        return None


def uninspected(pid: int, error: OSError, procfs: Procfs = PROC) -> Uninspected:
    """The record of a process that the kernel refused us."""
    try:
        command = os.fsdecode(procfs.read(pid, "comm").rstrip(b"\n"))
    except OSError:
        command = ""
    return Uninspected(pid, command, error.strerror or str(error))
