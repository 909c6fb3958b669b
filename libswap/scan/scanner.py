"""The whole machine: every process that still runs a library which was deleted or replaced."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from libswap.errors.process import ProcessGone
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey
from libswap.process.identity import boot_time
from libswap.scan.census import (
    NO_MEMORY,
    Census,
    Looking,
    MappedFile,
    Uninspected,
    uninspected,
)
from libswap.scan.examiner import Examiner
from libswap.scan.lookup import Lookup, lookup_of
from libswap.scan.owner import Registry
from libswap.scan.services import Service
from libswap.scan.stale import Current, NotLibrary, Undecided, Verdict, is_kernel_memory, is_library
from libswap.scan.starts import Starts
from libswap.scan.superseded import Record
from libswap.scan.use import User
from libswap.scan.witness import Witness


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one service that run something stale."""

    service: Service
    users: tuple[User, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a look at the whole machine has found.

    Attributes:
        groups: what to restart, by service.
        same_build: processes that run a replaced file whose successor is the same build.
        moved: processes in which libswap has moved all that was replaced onto what is there now.
        undecided: processes with files of which it could not be told.
        processes: how many were looked at.
        uninspected: those that could not be.
        others_hidden: whether /proc does not even list other users' processes (hidepid).
    """

    groups: tuple[Group, ...]
    same_build: tuple[User, ...]
    moved: tuple[User, ...]
    undecided: tuple[User, ...]
    processes: int
    uninspected: tuple[Uninspected, ...]
    others_hidden: bool


def scan(
    records: Sequence[Record] = (), procfs: Procfs = PROC, looking: Looking | None = None
) -> Scan:
    """Look at every process.

    Args:
        records: what a history of installations says was replaced.
        procfs: where processes are looked at.
        looking: a census of them that has begun.
    """
    census = (looking or Looking(procfs)).census()
    starts = Starts(procfs, census.starts)
    search = _Search(Examiner(tuple(records), procfs, registry=Registry(procfs), starts=starts))
    users = sorted(search.users(census), key=_by_service)
    return Scan(
        groups=tuple(
            Group(service, tuple(members))
            for service, members in groupby(filter(_is_stale, users), _service)
        ),
        same_build=tuple(u for u in users if not _is_stale(u) and not _is_undecided(u)),
        moved=(),
        undecided=tuple(u for u in users if not _is_stale(u) and _is_undecided(u)),
        processes=census.processes,
        uninspected=tuple(sorted((*census.uninspected, *search.uninspected))),
        others_hidden=procfs.hides_others(),
    )


def _service(user: User) -> Service:
    return user.process.service


def _by_service(user: User) -> tuple[Service, int]:
    return user.process.service, user.process.identity.pid


def _is_stale(user: User) -> bool:
    return any(use.stale for use in user.uses)


def _is_undecided(user: User) -> bool:
    return any(isinstance(use.state, Undecided) for use in user.uses)


class _Search:
    """Judges each file of a census once where that will do, and each process where it will not."""

    def __init__(self, examiner: Examiner) -> None:
        self.uninspected: list[Uninspected] = []
        self._examiner = examiner
        self._boot = boot_time()

    def users(self, census: Census) -> Iterator[User]:
        """The processes with a file that is not plainly current."""
        for view, files in census.mapped.items():
            pids = chain.from_iterable(files.values())
            with lookup_of(view, pids, self._examiner.procfs) as lookup:
                yield from self._users_of_view(files, lookup)

    def _users_of_view(self, files: dict[FileKey, list[int]], lookup: Lookup) -> Iterator[User]:
        found: dict[int, list[tuple[FileKey, Verdict]]] = {}
        for key, pids in files.items():
            if is_kernel_memory(key.name):
                continue
            file = MappedFile(lookup.view, key)
            for pid in self._worth_a_look(file, pids, lookup):
                if (verdict := self._verdict(file, pid, lookup)) is not None:
                    found.setdefault(pid, []).append((key, verdict))
        for pid, verdicts in found.items():
            try:
                yield self._examiner.user(pid, verdicts, lookup)
            except ProcessGone:
                continue
            except OSError as error:
                self._missed(pid, error)

    def _worth_a_look(self, file: MappedFile, pids: list[int], lookup: Lookup) -> list[int]:
        """The processes for which a file may be stale: mostly none, and that is known by file."""
        for pid in pids:
            try:
                witness = self._examiner.witness(pid)
                match self._examiner.by_name(file, lookup, witness).state:
                    case NotLibrary():
                        return []
                    case Current():
                        return self._doubtful(file, pids, lookup, witness)
                    case _:
                        return pids if is_library(file.key, witness) else []
            except (ProcessGone, OSError):
                continue  # another process may still be able to tell
        return []

    def _doubtful(
        self, file: MappedFile, pids: list[int], lookup: Lookup, witness: Witness
    ) -> list[int]:
        """All who map a current file, when one of them had loaded it before something changed."""
        examiner = self._examiner
        verdict = examiner.by_name(file, lookup, witness)
        changed = examiner.unchanged_since(file, verdict, lookup)
        early = examiner.starts.before(changed, pids) if changed > self._boot else []
        if not early:
            return []
        doubt = examiner.suspicion(file, lookup, witness)
        if doubt.superseded is not None:
            return pids
        early = examiner.starts.before(doubt.since, early)
        return [] if not early or examiner.is_unharmed(file, lookup, early) else pids

    def _verdict(self, file: MappedFile, pid: int, lookup: Lookup) -> Verdict | None:
        try:
            verdict = self._examiner.verdict(file, lookup, pid)
        except ProcessGone:
            return None
        except OSError as error:
            self._missed(pid, error)
            return None
        return None if isinstance(verdict.state, Current) else verdict

    def _missed(self, pid: int, error: OSError) -> None:
        if error.errno not in NO_MEMORY:
            self.uninspected.append(uninspected(pid, error, self._examiner.procfs))
