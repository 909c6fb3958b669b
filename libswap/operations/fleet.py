"""Upgrade a library on many machines: look at all, go batch by batch, halt and take back, go on."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from libswap.errors.base import UsageError
from libswap.errors.fleet import NoSuchRollout, NotReady
from libswap.fleet import ansible, record
from libswap.fleet.ansible import Tool
from libswap.fleet.bundle import bundle
from libswap.fleet.following import Looking, Upgrade, Watcher, WayBack, again
from libswap.fleet.record import Reached, Record
from libswap.fleet.rollout import (
    Machine,
    Outlook,
    Request,
    Rollout,
    Stage,
    State,
    ordered,
    serial,
    to_take_back,
)
from libswap.install.survey import survey_source
from libswap.install.transaction import new_id
from libswap.linux.publish import publish
from libswap.settings import Settings

_BATCH: Final = re.compile(r"0*[1-9][0-9]{0,8}%?")


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done.

    Attributes:
        request: what is asked for.
        machines: what was found on each, in the order in which they would be upgraded.
        left_out: machines that cannot be upgraded and are left out.
        batches: the sizes of the batches.
    """

    request: Request
    machines: tuple[Outlook, ...]
    left_out: tuple[Outlook, ...]
    batches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Damaged:
    """An upgrade whose record cannot be read.

    Attributes:
        path: of the record.
        reason: why it cannot.
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Upgrades of many machines, the oldest first.

    Attributes:
        rollouts: those whose record can be read.
        damaged: the others.
    """

    rollouts: tuple[Rollout, ...]
    damaged: tuple[Damaged, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """What is left to do for an upgrade; nothing was done.

    Attributes:
        id: of the upgrade.
        upgrade: the machines that `resume` would upgrade.
        take_back: the machines that `take_back` would put the old library back on.
    """

    id: str
    upgrade: tuple[str, ...]
    take_back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """libswap in one file.

    Attributes:
        path: where it is.
        size: in bytes.
        sha256: its digest.
    """

    path: str
    size: int
    sha256: str


def request(source: str, destination: str, inventories: Sequence[str], **how: Any) -> Request:  # noqa: ANN401
    """What is asked for, with the digest of the source.

    Raises:
        UsageError: the destination is no absolute path.
        LibswapError: the source is no shared library or cannot be read.
    """
    if not destination.startswith("/"):
        raise UsageError(f"{destination} is no absolute path", "Name it as the machines know it.")
    survey = survey_source(source)
    return Request(
        source=str(Path(source).resolve()), sha256=survey.file.sha256, destination=destination,
        inventories=tuple(map(_absolute, inventories)), **how,
    )  # fmt: skip


def _absolute(inventory: str) -> str:
    """As it is found from any directory, unless it is a list of machines."""
    return inventory if "," in inventory else str(Path(inventory).absolute())


def plan(wanted: Request, *, skip_unready: bool = False) -> Plan:
    """Look at every machine; nothing is changed on any.

    Args:
        wanted: what is asked for.
        skip_unready: whether machines that cannot be upgraded are left out.

    Raises:
        NotReady: some cannot be upgraded and are not left out, or all of them.
        LibswapError: Ansible or the inventory will not do.
    """
    names = ansible.hosts(wanted)
    if unknown := [name for name in wanted.canaries if name not in names]:
        raise UsageError(f"the inventory has no {', '.join(unknown)}", "See --canary.")
    found = _looked_at(wanted, ordered(names, wanted.canaries))
    unready = tuple(one for one in found if one.problem)
    ready = tuple(one for one in found if not one.problem)
    if unready and not (skip_unready and ready):
        raise NotReady(tuple((o.name, o.problem) for o in unready), none_left=not ready)
    chosen = replace(wanted, canaries=tuple(n for n in wanted.canaries if n in _names(ready)))
    return Plan(chosen, ready, unready, serial(chosen, 0))


def carry_out(made: Plan, settings: Settings, watcher: Watcher = lambda _: None) -> Rollout:
    """Upgrade the machines of a plan; when too many fail, all are taken back.

    A Ctrl-C ends it between two tasks; `resume` goes on and `take_back` goes back.
    """
    now = time.time()
    machines = tuple(
        Machine(
            one.name,
            State.UNCHANGED if one.unchanged else State.PENDING,
            operation="" if one.installed else None,
        )
        for one in made.machines
    )
    rollout = Rollout(id=new_id(now), started=now, request=made.request, machines=machines)
    found = (*made.machines, *made.left_out)
    with record.begun(settings.state_dir, rollout, found) as written, _tool() as tool:
        return _upgraded(written, tool, watcher)


def resume(rollout_id: str, settings: Settings, watcher: Watcher = lambda _: None) -> Rollout:
    """Go on with an upgrade that was interrupted.

    Raises:
        NoSuchRollout: there is no such upgrade.
        RolloutBusy: somebody is at work on it.
    """
    with record.resumed(settings.state_dir, rollout_id) as written, _tool() as tool:
        if written.rollout.stage is Stage.RUNNING:
            return _upgraded(written, tool, watcher)
        return written.rollout


def take_back(rollout_id: str, settings: Settings, watcher: Watcher = lambda _: None) -> Rollout:
    """Put the old library back on every machine of an upgrade that has the new one, or may.

    Raises:
        NoSuchRollout: there is no such upgrade.
        RolloutBusy: somebody is at work on it.
    """
    with record.resumed(settings.state_dir, rollout_id) as written, _tool() as tool:
        return _taken_back(written, tool, watcher)


def left(rollout_id: str, settings: Settings) -> Left:
    """What is left to do, either way.

    Raises:
        NoSuchRollout: there is no such upgrade.
    """
    found = record.load(settings.state_dir, rollout_id)
    pending = found.named(State.PENDING, State.UNKNOWN) if found.stage is Stage.RUNNING else ()
    return Left(found.id, pending, to_take_back(found))


def status(rollout_id: str | None, settings: Settings) -> Rollouts:
    """One upgrade, or all, the oldest first.

    Raises:
        NoSuchRollout: there is no such upgrade, or the record of the one asked for is damaged.
    """
    if rollout_id is not None:
        return Rollouts((record.load(settings.state_dir, rollout_id),))
    found: list[Rollout] = []
    damaged: list[Damaged] = []
    for name in record.names(settings.state_dir):
        try:
            found.append(record.load(settings.state_dir, name))
        except NoSuchRollout as error:
            damaged.append(Damaged(str(record.place(settings.state_dir, name)), error.reason))
    return Rollouts(tuple(found), tuple(damaged))


def write_bundle(path: Path, *, dry_run: bool = False) -> Written:
    """Write libswap and what it needs into one file.

    Args:
        path: the file; one that is there is replaced.
        dry_run: only say what would be written.

    Raises:
        Unbundled: something that it needs is not installed.
        SystemRefused, NoSpace: it cannot be written.
    """
    made = bundle()
    told = Written(str(path), len(made.data), made.sha256)
    if dry_run:
        return told
    publish(str(path), made.data, mode=0o755)
    return told


def batches(text: str) -> tuple[str, ...]:
    """Sizes of batches, from words with commas between.

    Raises:
        UsageError: one is no number and no percentage.
    """
    sizes = tuple(size.strip() for size in text.split(","))
    for size in sizes:
        if not _BATCH.fullmatch(size):
            raise UsageError(f"{size} is no size of a batch", "Give it as 5 or 10%.")
    return sizes


def _looked_at(wanted: Request, names: Sequence[str]) -> tuple[Outlook, ...]:
    looking = Looking({name: Outlook(name, "it was not looked at") for name in names})
    with _tool() as tool:
        ansible.play("preflight", wanted, tool, on=names, follower=looking)
    return tuple(looking.found.values())


def _names(found: Sequence[Outlook]) -> set[str]:
    return {one.name for one in found}


def _upgraded(written: Record, tool: Tool, watcher: Watcher) -> Rollout:
    rollout, wanted = written.rollout, written.request
    on = rollout.named(State.PENDING, State.UNKNOWN)
    upgrade = Upgrade(written, watcher)
    if on:
        sizes = serial(wanted, len(rollout.machines) - len(on))
        ansible.play(
            "upgrade", wanted, tool, on=on, follower=upgrade, libswap_batches=sizes,
            libswap_operations=_operations(rollout), libswap_again=again(rollout),
        )  # fmt: skip
        upgrade.batch()
    if upgrade.too_many_failed:
        written.note(Reached(Stage.HALTED))
        return _taken_back(written, tool, watcher)
    written.note(Reached(Stage.DONE))
    return written.rollout


def _taken_back(written: Record, tool: Tool, watcher: Watcher) -> Rollout:
    if on := to_take_back(written.rollout):
        follower = WayBack(written, watcher)
        ansible.play(
            "rollback", written.request, tool, on=on, follower=follower,
            libswap_operations=_operations(written.rollout),
        )  # fmt: skip
    left_over = to_take_back(written.rollout)
    written.note(Reached(Stage.HALTED if left_over else Stage.TAKEN_BACK))
    return written.rollout


def _operations(rollout: Rollout) -> dict[str, str]:
    """What the installation on each machine is called there, where that is known."""
    return {one.name: one.operation for one in rollout.machines if one.operation is not None}


@contextmanager
def _tool() -> Iterator[Tool]:
    """The archive for the machines, for as long as a playbook needs it."""
    made = bundle()
    directory = tempfile.mkdtemp(prefix="libswap-")
    try:
        path = Path(directory, "libswap.pyz")
        path.write_bytes(made.data)
        yield Tool(path, made.sha256)
    finally:
        shutil.rmtree(directory)
