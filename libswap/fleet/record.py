"""How far an upgrade of many machines has come: on disk here before the next task is run.

One file for each upgrade: what was asked for, what was found on each machine, then a line for each
step. What a crash tore off at the end is passed over; the machines themselves say again what they
have.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.fleet import NoSuchRollout, RolloutBusy
from libswap.fleet.rollout import Machine, Outlook, Request, Rollout, Stage
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


Step: TypeAlias = Machine | Reached | Outlook


class _Story:
    """An upgrade as its steps come in; each costs the same, however many machines there are."""

    def __init__(self, begun: Rollout) -> None:
        self.begun = begun
        self.machines = {one.name: one for one in begun.machines}
        self._outlooks: list[Outlook] = []
        self._steps: list[Machine] = []
        self._stage = begun.stage

    def take(self, step: Step) -> None:
        match step:
            case Machine(name):
                self.machines[name] = step
                self._steps.append(step)
            case Reached(stage):
                self._stage = stage
            case Outlook():
                self._outlooks.append(step)

    def rollout(self) -> Rollout:
        return replace(
            self.begun, stage=self._stage, machines=tuple(self.machines.values()),
            outlooks=tuple(self._outlooks), steps=tuple(self._steps),
        )  # fmt: skip


class Record:
    """The open record of one upgrade, that nobody else may follow meanwhile."""

    def __init__(self, story: _Story, descriptor: int, path: str) -> None:
        """Take an open file whose lock we hold."""
        self._story = story
        self._descriptor = descriptor
        self._path = path

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self._story.begun.request

    @property
    def rollout(self) -> Rollout:
        """All of it, as far as it has come."""
        return self._story.rollout()

    def machine(self, name: str) -> Machine:
        """What has become of one so far."""
        return self._story.machines[name]

    def note(self, *steps: Step) -> None:
        """Write steps down; on return they are on the disk."""
        for step in steps:
            self._story.take(step)
        files.write_all(self._descriptor, b"".join(map(records.line, steps)), self._path)
        files.sync(self._descriptor, self._path)


@contextmanager
def begun(state_dir: Path, rollout: Rollout, outlooks: Sequence[Outlook] = ()) -> Iterator[Record]:
    """Begin the record of a new upgrade; under its name it is whole.

    Args:
        state_dir: where the records are.
        rollout: as nothing has been done yet.
        outlooks: what was found on each machine beforehand.
    """
    stage = f".{rollout.id}"
    with Directory.make(str(state_dir / _DIRECTORY), 0o700) as directory, ExitStack() as stack:
        _clear(directory)
        descriptor = stack.enter_context(_locked(directory, stage))
        path = directory.join(rollout.id)
        written = Record(_Story(rollout), descriptor, path)
        try:
            files.write_all(descriptor, records.line(rollout), path)
            written.note(*outlooks)  # a line for each: one of ten thousand is too long to read
            directory.rename(stage, rollout.id)  # its lock goes with it
        except LibswapError:
            directory.unlink(stage)
            raise
        directory.sync()
        yield written


def _clear(directory: Directory) -> None:
    """Remove what somebody who was killed at the beginning has left: nobody holds its lock."""
    for name in directory.names():
        if name.startswith("."):
            with suppress(RolloutBusy), _locked(directory, name):
                directory.unlink(name)


@contextmanager
def resumed(state_dir: Path, rollout_id: str) -> Iterator[Record]:
    """Go on with the record of an earlier one.

    Raises:
        NoSuchRollout: there is none, or it cannot be read.
        RolloutBusy: another libswap is at work on it.
    """
    if rollout_id not in names(state_dir):
        raise NoSuchRollout(rollout_id)
    with (
        Directory(str(state_dir / _DIRECTORY)) as directory,
        _locked(directory, rollout_id) as descriptor,
    ):
        story, path = _read(state_dir, rollout_id), directory.join(rollout_id)
        if os.pread(descriptor, 1, os.lseek(descriptor, 0, os.SEEK_END) - 1) != b"\n":
            files.write_all(descriptor, b"\n", path)  # else a torn line would take ours with it
        yield Record(story, descriptor, path)


def load(state_dir: Path, rollout_id: str) -> Rollout:
    """Read one.

    Raises:
        NoSuchRollout: there is none, or it cannot be read.
    """
    return _read(state_dir, rollout_id).rollout()


def _read(state_dir: Path, rollout_id: str) -> _Story:
    if rollout_id not in names(state_dir):
        raise NoSuchRollout(rollout_id)
    try:
        text = place(state_dir, rollout_id).read_bytes()
    except OSError as error:
        raise NoSuchRollout(rollout_id, error.strerror or "it cannot be read") from None
    story = None
    try:
        for line in records.lines(text):
            if isinstance(line, Damage):
                continue
            if story is None:
                story = _Story(records.parse(line, Rollout))
            else:
                story.take(records.parse(line, Machine, Reached, Outlook))  # type: ignore[arg-type]
    except Malformed as error:
        raise NoSuchRollout(rollout_id, f"its record says: {error}") from None
    if story is None:
        raise NoSuchRollout(rollout_id, "its record is damaged")
    return story


def names(state_dir: Path) -> tuple[str, ...]:
    """The ids of all of them, the oldest first."""
    try:
        found = sorted(path.name for path in place(state_dir, "").iterdir())
    except OSError:
        return ()
    return tuple(name for name in found if not name.startswith("."))  # those are not yet whole


def place(state_dir: Path, rollout_id: str) -> Path:
    """The file of one."""
    return state_dir / _DIRECTORY / rollout_id


@contextmanager
def _locked(directory: Directory, name: str) -> Iterator[int]:
    descriptor = try_lock(directory, name, 0)
    if descriptor is None:
        raise RolloutBusy(name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
