"""A drop directory held open, with deployed/ and rejected/ below it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from libswap.errors.base import SystemRefused
from libswap.linux import files
from libswap.linux.files import Directory, FileId
from libswap.linux.locks import lock_directory
from libswap.operations.deployments import Drop
from libswap.watch.rule import Limits
from libswap.watch.settle import MAX_NAME
from libswap.watch.trust import open_trusted

DEPLOYED: Final = "deployed"
REJECTED: Final = "rejected"
REASON: Final = ".reason"
OURS: Final = frozenset({DEPLOYED, REJECTED})
_MOST_NAMES: Final = 20_000
_MOST_TRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class DropDirectory:
    """One watched directory.

    Attributes:
        directory: itself.
        deployed: what was deployed.
        rejected: what was not, each with its reason.
    """

    directory: Directory
    deployed: Directory
    rejected: Directory

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a drop directory that only root and we can write to; ours are made below it.

        Raises:
            UntrustedDrop: others can write there.
            SystemRefused: it cannot be opened.
        """
        directory = open_trusted(os.path.realpath(path))
        try:
            return cls._with(directory)
        except BaseException:
            directory.close()
            raise

    @classmethod
    def _with(cls, directory: Directory) -> Self:
        for name in (DEPLOYED, REJECTED):
            directory.make_below(name, 0o755)
        return cls(directory, directory.below(DEPLOYED), directory.below(REJECTED))

    @classmethod
    def glance(cls, path: str) -> Self:
        """Open a drop directory only to look: nothing is made, and nothing can be set aside."""
        real = os.path.realpath(path)
        return cls(open_trusted(real), Directory(real), Directory(real))

    def close(self) -> None:
        """Let go of it."""
        for held in (self.directory, self.deployed, self.rejected):
            held.close()

    def lock(self) -> bool:
        """Keep other watchers away for as long as it is open; returns whether there was none."""
        return lock_directory(self.directory)

    def is_current(self, path: str) -> bool:
        """Whether a path still leads here."""
        try:
            here = os.stat(path)  # noqa: PTH116
        except OSError:
            return False
        return FileId.of(here) == FileId.of(self.directory.status)

    def whole(self) -> "DropDirectory":
        """The same, with deployed/ and rejected/ made anew where somebody has removed them."""
        if self._is_whole():
            return self
        made = self._with(self.directory)
        for held in (self.deployed, self.rejected):
            held.close()
        return made

    def _is_whole(self) -> bool:
        return all(
            (status := self.directory.lstat(name)) is not None
            and FileId.of(status) == FileId.of(held.status)
            for name, held in ((DEPLOYED, self.deployed), (REJECTED, self.rejected))
        )

    def names(self) -> list[str]:
        """What lies there, ours left out; of very many only some, the others' turn comes later."""
        found: list[str] = []
        with (
            files.refusal("list", self.directory.path),
            os.scandir(self.directory.descriptor) as all_,
        ):
            for entry in all_:
                if entry.name not in OURS:
                    found.append(entry.name)
                if len(found) >= _MOST_NAMES:
                    break
        return sorted(found)

    def free_name(self, into: Directory, name: str, taken: frozenset[str] = frozenset()) -> str:
        """A name for a file that is set aside, at which nothing stands."""
        name = _short(name)
        for candidate in _candidates(name):
            free = candidate not in taken and into.lstat(candidate) is None
            if free and into.lstat(candidate + REASON) is None:
                return candidate
        raise SystemRefused("find a free name for", into.join(name), "all are taken")

    def set_aside(self, drop: Drop, into: Directory, wanted: str) -> str | None:
        """Move a drop away, and only that: what came under its name meanwhile stays.

        The name may have been given to another file since; so what was moved is looked at, and
        put back where it is not the drop. Done already, it does nothing.

        Returns:
            The name that the drop has there; None where it is not what was dropped any more.
        """
        new_name = wanted
        for _ in range(_MOST_TRIES):
            if _is(drop, into.lstat(new_name)):
                return new_name
            if not _is(drop, self.directory.lstat(drop.name)):
                return None
            if self.directory.move(drop.name, into, new_name):
                if _is(drop, into.lstat(new_name)):
                    return new_name
                # Where a still newer file has the name by now, this one was overtaken: it stays.
                into.move(new_name, self.directory, drop.name)
                return None
            new_name = self.free_name(into, drop.name)
        raise SystemRefused("set aside", self.directory.join(drop.name), "every name is taken")

    def write_reason(self, name: str, text: str) -> None:
        """Say beside a rejected file why, as the ledger does; never over another file."""
        reason = name + REASON
        if self.rejected.lstat(reason) is not None:
            return
        self.rejected.unlink(f".{reason}")  # of one who was killed here
        descriptor = self.rejected.create(f".{reason}", 0o644)
        try:
            files.write_all(descriptor, text.encode("utf-8", "surrogateescape"), reason)
        finally:
            os.close(descriptor)
        self.rejected.move(f".{reason}", self.rejected, reason)

    def prune(self, limits: Limits) -> None:
        """Remove the oldest of what was set aside, beyond what is to be kept; the newest stays."""
        for held in (self.deployed, self.rejected):
            for name in _superfluous(held, limits):
                with suppress(SystemRefused):  # a directory, or already gone: its turn may come
                    held.unlink(name)


def _short(name: str) -> str:
    data = os.fsencode(name)
    return name if len(data) <= MAX_NAME else os.fsdecode(data[:MAX_NAME])


def _candidates(name: str) -> Iterator[str]:
    yield name
    for number in range(1, _MOST_TRIES):
        yield f"{name}.{number}"


def _is(drop: Drop, status: os.stat_result | None) -> bool:
    """Whether a name stands for the very drop, unchanged (a rename moves only the ctime)."""
    return status is not None and (FileId.of(status), status.st_size, status.st_mtime_ns) == (
        drop.inode, drop.size, drop.mtime,
    )  # fmt: skip


def _superfluous(held: Directory, limits: Limits) -> list[str]:
    """The oldest files, each with its reason."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for name in held.names():
        status = held.lstat(name)
        if status is not None:
            one = (status.st_ctime_ns, status.st_size, name)
            found.setdefault(name.removesuffix(REASON), []).append(one)
    count, size = len(found), sum(size for each in found.values() for _, size, _ in each)
    gone: list[str] = []
    for each in sorted(found.values(), key=min)[:-1]:
        if count <= limits.keep_files and size <= limits.keep_bytes:
            break
        gone += [name for _, _, name in each]
        count, size = count - 1, size - sum(size for _, size, _ in each)
    return gone
