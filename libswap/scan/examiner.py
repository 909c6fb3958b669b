"""Examines single files in single processes, and remembers what holds for many of them."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from libswap.errors.process import ProcessGone
from libswap.linux.files import FileId
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey
from libswap.process.namespaces import View
from libswap.scan.census import MappedFile
from libswap.scan.loading import how_loaded
from libswap.scan.lookup import Lookup
from libswap.scan.modules import Modules
from libswap.scan.overwritten import (
    GRANULARITY,
    TOLERANCE,
    FileNow,
    is_cut_off,
    last_change,
    overwritten,
)
from libswap.scan.owner import Registry
from libswap.scan.stale import Current, Overwritten, Superseded, Undecided, Verdict, judge
from libswap.scan.starts import Starts
from libswap.scan.superseded import (
    Record,
    by_backup_name,
    by_loaded_name,
    by_record,
    by_soname,
)
from libswap.scan.use import Use, User, is_stale
from libswap.scan.witness import LinkMapTooLong, Reads, Witness, build_id_of

_SPEAKERS: Final = 16
"""So many processes speak for all others that map a file of which only the change time moved."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What could make a file stale for those who loaded it early enough.

    Attributes:
        superseded: what it would be superseded by.
        changed: when its contents or its attributes last changed, in seconds since the epoch.
    """

    superseded: Superseded | None
    changed: float

    @property
    def since(self) -> float:
        """Who loaded the file later has nothing to fear; seconds since the epoch."""
        return max(self.changed + TOLERANCE, self.superseded.since if self.superseded else 0.0)


@dataclass(slots=True)
class Examiner:
    """What is known so far.

    Attributes:
        records: what a history says was replaced.
        procfs: where processes are looked at.
        modules: what the dynamic linker reads in their files.
        registry: who they are.
        starts: since when they are there.
    """

    records: tuple[Record, ...] = ()
    procfs: Procfs = PROC
    modules: Modules = field(default_factory=Modules)
    registry: Registry = field(default_factory=Registry)
    starts: Starts = field(default_factory=Starts)
    _verdicts: dict[MappedFile, Verdict] = field(default_factory=dict)
    _suspicions: dict[MappedFile, Suspicion] = field(default_factory=dict)
    _directories: dict[tuple[View, bytes], float] = field(default_factory=dict)
    _now: dict[MappedFile, FileNow] = field(default_factory=dict)
    _witnesses: dict[int, Witness] = field(default_factory=dict)
    _reads: Reads = field(default_factory=Reads)

    def witness(self, pid: int) -> Witness:
        """The process as a witness, whose mappings are read once."""
        return self._witnesses.setdefault(pid, Witness(pid, self.procfs, self._reads))

    def by_name(self, file: MappedFile, lookup: Lookup, witness: Witness) -> Verdict:
        """Whether a mapped file's name still leads to it, the same for all that share a view.

        Raises:
            OSError: the witness has ended or mapped something else meanwhile.
        """
        if file not in self._verdicts:
            self._verdicts[file] = judge(file.key, lookup, witness)
        return self._verdicts[file]

    def unchanged_since(self, file: MappedFile, verdict: Verdict, lookup: Lookup) -> float:
        """A moment, seconds since the epoch: no later process can have a stale mapping of a file.

        Since then neither the file nor a name in its directory has changed.
        """
        if any(record.file == verdict.file for record in self.records):
            return math.inf
        directory = verdict.name.rpartition(b"/")[0] or b"/"
        place = file.view, directory
        if place not in self._directories:
            self._directories[place] = _last_change(directory, lookup)
        changed = max(self._directories[place], _last_change(verdict.name, lookup))
        return changed + TOLERANCE

    def suspicion(self, file: MappedFile, lookup: Lookup, witness: Witness) -> Suspicion:
        """What could make a file stale to which its name still leads.

        Raises:
            OSError: the witness has ended or mapped something else meanwhile.
        """
        if file not in self._suspicions:
            verdict = self.by_name(file, lookup, witness)
            self._suspicions[file] = Suspicion(
                self._superseded(file, verdict, lookup, witness),
                _last_change(verdict.name, lookup),
            )
        return self._suspicions[file]

    def is_unharmed(self, file: MappedFile, lookup: Lookup, oldest: Sequence[int]) -> bool:
        """Whether the oldest processes that map a file show that only its attributes changed.

        A write would have moved its modification time, or else left them with relocated words that
        the file as it is now does not ask for. A new name would have left them with the old one.

        Args:
            file: one whose name still leads to it.
            lookup: finds names as the processes see them.
            oldest: the oldest of those who map it, in that order.
        """
        agreed = False
        for pid in oldest[:_SPEAKERS]:
            try:
                witness, loaded_by = self.witness(pid), self._loaded_by(pid, file.key)
                now = self._file_now(file, lookup, witness)
                mappings = witness.of(file.key)
                if by_loaded_name(self.by_name(file, lookup, witness), witness, file.key, lookup):
                    return False
            except (OSError, ProcessGone, LinkMapTooLong):
                continue
            if now.status.st_mtime > loaded_by or is_cut_off(now.status, mappings):
                return False
            if now.relocated is None:
                return False
            found = now.relocated.compare(mappings, witness)
            if found.different:
                return False
            agreed = agreed or found.compared > 0
        return agreed

    def verdict(self, file: MappedFile, lookup: Lookup, pid: int) -> Verdict:
        """Everything that can make a file stale for one process.

        Raises:
            ProcessGone: it has ended.
            OSError: likewise, or it has unmapped the file.
        """
        witness = self.witness(pid)
        verdict = self.by_name(file, lookup, witness)
        if not isinstance(verdict.state, Current):
            return verdict
        suspicion = self.suspicion(file, lookup, witness)
        loaded_by = self._loaded_by(pid, file.key)
        may_be_other = suspicion.changed > loaded_by - TOLERANCE
        other: Superseded | Undecided | None = suspicion.superseded
        if other is None and may_be_other:
            other = _by_loaded_name(file.key, verdict, lookup, witness)
        if isinstance(other, Superseded) and other.since > loaded_by + GRANULARITY:
            return replace(verdict, state=other)
        if not may_be_other:
            return verdict
        state = self._overwritten(file, verdict, lookup, witness, loaded_by)
        if state is None and isinstance(other, Undecided):
            return replace(verdict, state=other)
        return verdict if state is None else replace(verdict, state=state)

    def user(self, pid: int, verdicts: Iterable[tuple[FileKey, Verdict]], lookup: Lookup) -> User:
        """A process together with its uses of some files.

        Raises:
            ProcessGone: it has ended.
            OSError: likewise, or it has unmapped one of the files.
        """
        identity = self.starts.identity(pid)
        uses = tuple(self._use(key, verdict, lookup, pid) for key, verdict in verdicts)
        return User(self.registry.process(identity), uses)

    def _use(self, key: FileKey, verdict: Verdict, lookup: Lookup, pid: int) -> Use:
        witness = self.witness(pid)
        mappings = witness.of(key)
        if not mappings:
            raise ProcessLookupError
        running = witness.build_id(mappings[0])
        on_disk = _build_id_on_disk(verdict, lookup, running)
        return Use(
            path=verdict.path,
            file=verdict.file,
            state=verdict.state,
            stale=is_stale(verdict.state, running, on_disk),
            ranges=tuple((m.start, m.end) for m in mappings),
            loaded=how_loaded(key, witness, lookup, self.modules),
            running_build_id=running,
            disk_build_id=on_disk,
        )

    def _loaded_by(self, pid: int, key: FileKey) -> float:
        """No later than when a process got its mapping of a file, in seconds since the epoch.

        What fork(2) handed down lies at the same address in the parent, which started earlier.
        """
        started = self.starts.identity(pid).started_at()
        mappings = self.witness(pid).of(key)
        for parent in self.registry.ancestry(pid):
            try:
                if parent != pid and self.witness(parent).of(key)[:1] != mappings[:1]:
                    return started
                started = self.starts.identity(parent).started_at()
            except (OSError, ProcessGone):
                return started
        return started

    def _superseded(
        self, file: MappedFile, verdict: Verdict, lookup: Lookup, witness: Witness
    ) -> Superseded | None:
        module = self.modules.of(file.key, witness, lookup)
        found = None if module is None else by_soname(verdict, module, lookup)
        found = found or by_backup_name(verdict, lookup)
        if found is None and any(record.file == verdict.file for record in self.records):
            now = self._file_now(file, lookup, witness)
            build_id = witness.build_id(witness.of(file.key)[0])
            found = by_record(verdict, now.born, build_id, lookup, self.records)
        return found

    def _overwritten(
        self, file: MappedFile, verdict: Verdict, lookup: Lookup, witness: Witness, loaded_by: float
    ) -> Overwritten | None:
        mappings = witness.of(file.key)
        now = self._file_now(file, lookup, witness)
        if not mappings or FileId.of(now.status) != verdict.file:
            return None
        return overwritten(now, mappings, witness, loaded_by)

    def _file_now(self, file: MappedFile, lookup: Lookup, witness: Witness) -> FileNow:
        if file not in self._now:
            mappings = witness.of(file.key)
            descriptor = witness.open(mappings[0]) if mappings else None
            if descriptor is None:
                descriptor = lookup.open(file.key.name)
            self._now[file] = FileNow.of(descriptor, lookup.path(file.key.name))
        return self._now[file]


def _by_loaded_name(
    key: FileKey, verdict: Verdict, lookup: Lookup, witness: Witness
) -> Superseded | Undecided | None:
    try:
        return by_loaded_name(verdict, witness, key, lookup)
    except LinkMapTooLong:
        return Undecided("lists of loaded libraries are too long to look for the name it had")


def _last_change(name: bytes, lookup: Lookup) -> float:
    status = lookup.status(name)
    return last_change(status) if isinstance(status, os.stat_result) else 0.0


def _build_id_on_disk(verdict: Verdict, lookup: Lookup, running: str | None) -> str | None:
    match verdict.state:
        case Current() | Overwritten():
            return running
        case Superseded(by=path):
            image = lookup.image_seen(path)
        case _:
            image = lookup.image(verdict.name)
    return None if image is None else build_id_of(image)
