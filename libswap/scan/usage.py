"""Who uses given files: every process that maps them, by device and inode and by path."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from libswap.elf.dynamic import read_dynamic
from libswap.elf.image import Image
from libswap.errors.base import InvalidElf
from libswap.errors.process import ProcessGone
from libswap.linux.files import FileId
from libswap.linux.procfs import PROC, Procfs
from libswap.linux.procmap import FileKey
from libswap.process.namespaces import View
from libswap.scan.census import NO_MEMORY, MappedFile, Uninspected, other_thread, uninspected
from libswap.scan.examiner import Examiner
from libswap.scan.lookup import Lookup, lookup_of
from libswap.scan.owner import Registry
from libswap.scan.starts import Starts
from libswap.scan.superseded import Record
from libswap.scan.use import User
from libswap.scan.witness import mangled


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is asked for.

    Attributes:
        path: as it was said, "" when only the inode was.
        real: the path without links, by which processes show it; a bare name stands for itself.
        file: the inode; None where nothing has this name (any more).
        directory: the inode of the directory that holds the name; None likewise.
    """

    path: str
    real: str
    file: FileId | None
    directory: FileId | None

    @classmethod
    def of(cls, asked: FileId | str | os.PathLike[str]) -> "Wanted":
        """The file that a path or an inode stands for."""
        if isinstance(asked, FileId):
            return cls("", "", asked, None)
        if os.sep not in os.fspath(asked) and not os.path.lexists(asked):
            return cls(os.fspath(asked), os.fspath(asked), None, None)
        real = Path(asked).parent.resolve() / Path(asked).name
        if real.is_symlink():
            real = real.resolve()
        return cls(os.fspath(asked), str(real), _id(real), _id(real.parent))

    @property
    def name(self) -> str:
        """The last part of the real path."""
        return self.real.rpartition("/")[2]

    def is_in(self, directory: FileId | None) -> bool:
        """Whether the name is meant in this directory; a bare one is meant in every."""
        return "/" not in self.real if self.directory is None else self.directory == directory


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses what.

    Attributes:
        files: what was asked for.
        users: the processes that map any of it, by PID.
        unused: the paths that were asked for and that nobody maps.
        processes: how many processes were looked at.
        uninspected: those that could not be, and may use it as well.
    """

    files: tuple[Wanted, ...]
    users: tuple[User, ...]
    unused: tuple[str, ...]
    processes: int
    uninspected: tuple[Uninspected, ...]

    def without(self, files: Collection[FileId]) -> "Usage":
        """The same, without who maps none but these files, and those are current."""
        users = (u for u in self.users if any(x.stale or x.file not in files for x in u.uses))
        return replace(self, users=tuple(users))


def users_of(
    files: Collection[FileId | str | os.PathLike[str]],
    records: Sequence[Record] = (),
    procfs: Procfs = PROC,
) -> Usage:
    """Find the processes that map any of these files, as code or as data.

    A path also finds who maps a file that had this name and was deleted or replaced, and another
    file of the same DT_SONAME beside it.

    Args:
        files: inodes; paths, where a link stands for what it leads to; names without a slash that
            are no file here, which stand for every mapped file of that name, or of that DT_SONAME
            and a name with the same beginning.
        records: what a history of installations says was replaced.
        procfs: where processes are looked at.
    """
    return _Search(tuple(map(Wanted.of, files)), tuple(records), procfs).run()


class _Search:
    """One pass over all processes: the text of maps first, and only its hits are looked into."""

    def __init__(
        self, wanted: tuple[Wanted, ...], records: tuple[Record, ...], procfs: Procfs
    ) -> None:
        self._wanted = wanted
        self._procfs = procfs
        self._needles = tuple({needle for file in wanted for needle in _needles(file)})
        self._examiner = Examiner(records, procfs, registry=Registry(procfs), starts=Starts(procfs))
        self._sonames = tuple(_soname(file) for file in wanted)
        self._used: set[str] = set()

    def run(self) -> Usage:
        users: list[User] = []
        missed: list[Uninspected] = []
        processes = 0
        for pid in sorted(self._procfs.other_pids()):
            try:
                pid, text = self._maps(pid)  # noqa: PLW2901
                processes += bool(text)
                if any(needle in text for needle in self._needles):
                    users += self._users(pid)
            except ProcessGone:
                continue
            except OSError as error:
                if error.errno not in NO_MEMORY:
                    missed.append(uninspected(pid, error, self._procfs))
        unused = tuple(w.path for w in self._wanted if w.path not in self._used)
        return Usage(self._wanted, tuple(users), unused, processes, tuple(missed))

    def _maps(self, pid: int) -> tuple[int, bytes]:
        """The text of maps, and the process or thread that shows it."""
        text = b""
        with suppress(FileNotFoundError, ProcessLookupError):
            text = self._procfs.read(pid, "maps")
        tid = None if text else other_thread(pid, self._procfs)
        return (pid, text) if tid is None else (tid, self._procfs.read(tid, "maps"))

    def _users(self, pid: int) -> Iterator[User]:
        """The process as a user of what it maps of the wanted, or nothing."""
        examiner, view = self._examiner, View.of(pid, self._procfs)
        examiner.starts.identity(pid)  # before anything else is read, so that a reused PID shows
        with lookup_of(view, [pid], self._procfs) as lookup:
            mapped = {
                FileKey(m.inode, m.major, m.minor, m.name) for m in examiner.witness(pid).mappings()
            }
            verdicts = [
                (key, examiner.verdict(MappedFile(view, key), lookup, pid))
                for key in sorted(filter(self._may_be_wanted, mapped))
                if self._is_wanted(MappedFile(view, key), lookup, pid)
            ]
            if verdicts:
                yield examiner.user(pid, verdicts, lookup)

    def _may_be_wanted(self, key: FileKey) -> bool:
        return key.inode != 0 and any(
            (file.file is not None and key.inode == file.file.inode)
            or (file.real and _stem(file.real) in mangled(key.name))
            for file in self._wanted
        )

    def _is_wanted(self, file: MappedFile, lookup: Lookup, pid: int) -> bool:
        witness = self._examiner.witness(pid)
        verdict = self._examiner.by_name(file, lookup, witness)
        folder, _, name = verdict.name.rpartition(b"/")
        names = {os.fsdecode(name)}
        if self._sonames:
            module = self._examiner.modules.of(file.key, witness, lookup)
            names |= {module.soname} if module and module.soname else set()
        directory = _directory(folder, lookup)
        found = [
            wanted
            for wanted, soname in zip(self._wanted, self._sonames, strict=True)
            if (wanted.file is not None and wanted.file == verdict.file)
            or (wanted.directory is None and wanted.real == verdict.path)
            or (wanted.is_in(directory) and not names.isdisjoint({wanted.name, soname}))
        ]
        self._used.update(wanted.path for wanted in found)
        return bool(found)


def _needles(file: Wanted) -> Iterator[bytes]:
    if file.file is not None:
        yield b" %d " % file.file.inode
    if file.real:
        yield _stem(file.real)


def _stem(path: str) -> bytes:
    """The part of a library's name that all its versions share, as the text of maps has it."""
    name = os.fsencode(path).rpartition(b"/")[2]
    return mangled(name.partition(b".so")[0] or name)


def _directory(name: bytes, lookup: Lookup) -> FileId | None:
    status = lookup.status(name or b"/")
    return FileId.of(status) if isinstance(status, os.stat_result) else None


def _soname(file: Wanted) -> str | None:
    try:
        dynamic = (
            read_dynamic(Image.open(file.real)) if file.file is not None and file.real else None
        )
    except (InvalidElf, OSError):
        return None
    return None if dynamic is None else dynamic.soname


def _id(path: Path) -> FileId | None:
    try:
        return FileId.of(path.stat())
    except OSError:
        return None
