"""How far an upgrade of many machines has come: on disk here before the next task is run.

One file for each upgrade: what was asked for, then a line for each step. What a crash tore off at
the end is passed over; the machines themselves say again what they have.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from libswap.errors.fleet import NoSuchRollout, RolloutBusy
from libswap.fleet.rollout import Machine, Rollout, Stage
from libswap.install import records
from libswap.install.records import Damage, Malformed
from libswap.linux import files
from libswap.linux.files import Directory
from libswap.linux.locks import try_lock

_DIRECTORY: Final = "fleet"


@dataclass(frozen=True, slots=True)
class Reached:
    """The upgrade as a whole has come to a stage."""

    stage: Stage


class Record:
    """The open record of one upgrade, that nobody else may follow meanwhile."""

    def __init__(self, rollout: Rollout, descriptor: int, path: str) -> None:
        """Take an open file whose lock we hold."""
        self.rollout = rollout
        self._descriptor = descriptor
        self._path = path

    def note(self, step: Machine | Reached) -> None:
        """Write a step down; on return it is on the disk."""
        self.rollout = _after(self.rollout, step)
        files.write_all(self._descriptor, records.line(step), self._path)
        files.sync(self._descriptor, self._path)


@contextmanager
def begun(state_dir: Path, rollout: Rollout) -> Iterator[Record]:
    """Begin the record of a new upgrade."""
    with (
        Directory.make(str(state_dir / _DIRECTORY), 0o700) as directory,
        _locked(directory, rollout.id) as descriptor,
    ):
        path = directory.join(rollout.id)
        files.write_all(descriptor, records.line(rollout), path)
        files.sync(descriptor, path)
        directory.sync()
        yield Record(rollout, descriptor, path)


@contextmanager
def resumed(state_dir: Path, rollout_id: str) -> Iterator[Record]:
    """Go on with the record of an earlier one.

    Raises:
        NoSuchRollout: there is none, or it cannot be read.
        RolloutBusy: another libswap is at work on it.
    """
    rollout = load(state_dir, rollout_id)
    with (
        Directory(str(state_dir / _DIRECTORY)) as directory,
        _locked(directory, rollout_id) as descriptor,
    ):
        os.lseek(descriptor, 0, os.SEEK_END)
        yield Record(rollout, descriptor, directory.join(rollout_id))


def load(state_dir: Path, rollout_id: str) -> Rollout:
    """Read one.

    Raises:
        NoSuchRollout: there is none, or it cannot be read.
    """
    if rollout_id not in names(state_dir):
        raise NoSuchRollout(rollout_id)
    try:
        text = (state_dir / _DIRECTORY / rollout_id).read_bytes()
    except OSError as error:
        raise NoSuchRollout(rollout_id, error.strerror or "it cannot be read") from None
    rollout = None
    try:
        for line in records.lines(text):
            if isinstance(line, Damage):
                continue
            if rollout is None:
                rollout = records.parse(line, Rollout)
            else:
                rollout = _after(rollout, records.parse(line, Machine, Reached))  # type: ignore[arg-type]
    except Malformed as error:
        raise NoSuchRollout(rollout_id, f"its record says: {error}") from None
    if rollout is None:
        raise NoSuchRollout(rollout_id, "its record is damaged")
    return rollout


def names(state_dir: Path) -> tuple[str, ...]:
    """The ids of all of them, the oldest first."""
    try:
        return tuple(sorted(path.name for path in (state_dir / _DIRECTORY).iterdir()))
    except OSError:
        return ()


def _after(rollout: Rollout, step: Machine | Reached) -> Rollout:
    match step:
        case Machine():
            return rollout.with_machine(step)
        case Reached(stage):
            return replace(rollout, stage=stage)


@contextmanager
def _locked(directory: Directory, name: str) -> Iterator[int]:
    descriptor = try_lock(directory, name, 0)
    if descriptor is None:
        raise RolloutBusy(name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
