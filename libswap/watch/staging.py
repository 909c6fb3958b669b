"""The private directory where drops are copied to, one directory for each deployment."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from libswap.errors.base import InvalidElf, MissingTool, ProgramFailed
from libswap.errors.watch import DropRefused
from libswap.install.candidate import read_candidate
from libswap.install.replace import open_source
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.operations.deployments import Drop
from libswap.watch import verification
from libswap.watch.batch import Batch
from libswap.watch.dropdir import DropDirectory
from libswap.watch.intake import Staged, drop_of, take
from libswap.watch.rule import Require, Rule
from libswap.watch.target import Standing, target_of

NAME: Final = "staging"


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of a batch.

    Attributes:
        drops: every file of it that was there.
        targets: each library, as it lies in the staging directory, and its destination.
        refusal: why it is not deployed; "" where nothing speaks against it.
    """

    drops: tuple[Drop, ...]
    targets: tuple[tuple[str, str], ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Staging:
    """All of them.

    Attributes:
        directory: where they are.
        room: on whose file system there must be space for them; None for their own.
    """

    directory: Directory
    room: Directory | None = None

    def clear(self, but: str = "") -> None:
        """Remove what no deployment needs; after a crash something may have been left."""
        for name in self.directory.names():
            if name != but:
                with files.refusal("remove", self.directory.join(name)):
                    shutil.rmtree(name, dir_fd=self.directory.descriptor)

    def take(self, box: DropDirectory, batch: Batch, id_: str, rule: Rule) -> Taken:
        """Copy, verify and map all files of a batch.

        Raises:
            DropUnsettled: one changed meanwhile.
            NoSpace: there is too little room for them.
        """
        if batch.refusal:
            return Taken(_as_they_are(box, batch), refusal=batch.refusal)
        self.directory.make_below(id_, 0o700)
        with self.directory.below(id_) as own:
            room = self.room or own
            try:
                signed = rule.trust.require is not Require.NOTHING
                staged = {
                    name: take(box.directory, name, own, rule.limits, signed=signed, room=room)
                    for name in batch.names
                }
                verification.verify(batch, staged, own, rule)
                targets = tuple(_targets(batch, staged, rule))
            except (DropRefused, InvalidElf, ProgramFailed, MissingTool) as refused:
                return Taken(_as_they_are(box, batch), refusal=refused.message)
            self._sync(own, targets)
        return Taken(tuple(staged[name].drop for name in batch.names), targets)

    def _sync(self, own: Directory, targets: Iterable[tuple[str, str]]) -> None:
        """Make what will be installed outlive a power cut, before a record speaks of it."""
        for path, _ in targets:
            descriptor = open_source(path)
            try:
                files.sync(descriptor, path)
            finally:
                os.close(descriptor)
        own.sync()
        self.directory.sync()


def _as_they_are(box: DropDirectory, batch: Batch) -> tuple[Drop, ...]:
    """The files as they stand in the drop directory, to be set aside."""
    found = ((name, box.directory.lstat(name)) for name in batch.names)
    return tuple(drop_of(name, status) for name, status in found if status is not None)


def _targets(batch: Batch, staged: Mapping[str, Staged], rule: Rule) -> Iterator[tuple[str, str]]:
    with Directory(os.path.realpath(rule.to)) as installed:
        for name in batch.libraries:
            path = staged[name].path
            descriptor = open_source(path)
            try:
                candidate = read_candidate(descriptor, name)
            finally:
                os.close(descriptor)
            stands = partial(_stands, installed)
            yield path, target_of(name, candidate.soname, rule, stands)


def _stands(directory: Directory, name: str) -> Standing:
    status = directory.lstat(name)
    if status is None:
        return Standing.NOTHING
    return Standing.LINK if files.is_link(status) else Standing.FILE
