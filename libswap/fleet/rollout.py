"""One upgrade of many machines: what is asked for, and what has become of each machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from libswap.errors.fleet import MachinesFailed, NotTakenBack

BATCHES: Final = ("1", "10%", "50%", "100%")


class Stage(Enum):
    """How far an upgrade has come."""

    RUNNING = "running"
    DONE = "done"
    HALTED = "halted"
    TAKEN_BACK = "taken back"


class State(Enum):
    """What has become of a machine."""

    PENDING = "pending"
    UNCHANGED = "had it already"
    INSTALLED = "installed"
    FAILED = "failed and taken back"
    UNKNOWN = "not known"
    TAKEN_BACK = "taken back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        source: the new library, on this machine.
        sha256: its digest.
        destination: what it replaces on the machines.
        inventories: of Ansible.
        limit: a pattern of Ansible that chooses machines of the inventory; "" for all.
        canaries: machines that come first, each in a batch of its own.
        batches: sizes of the others, as numbers or percentages (Ansible's `serial`).
        most_failures: percentage of a batch that may fail before the upgrade is halted.
        live: whether running processes are moved.
        force: as of `libswap install`.
        health: a command on each machine after its upgrade.
        batch_health: a command here after each batch.
        retries: how often `health` is tried again.
        delay: seconds between two tries.
        become: whether to become root on the machines.
        keep_tool: whether the archive of libswap stays there, or is brought for each task.
    """

    source: str
    sha256: str
    destination: str
    inventories: tuple[str, ...]
    limit: str = ""
    canaries: tuple[str, ...] = ()
    batches: tuple[str, ...] = BATCHES
    most_failures: int = 0
    live: bool = False
    force: bool = False
    health: tuple[str, ...] = ()
    batch_health: tuple[str, ...] = ()
    retries: int = 0
    delay: int = 5
    become: bool = True
    keep_tool: bool = True


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the machines.

    Attributes:
        name: in the inventory.
        state: what has become of it.
        reason: why it failed or is not known, "" otherwise.
        operation: what `libswap history` there calls the installation; "" where the library was
            there before, None where neither is known.
        since: when it came to that, in seconds since the epoch; 0 where nothing has been done.
    """

    name: str
    state: State = State.PENDING
    reason: str = ""
    operation: str | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Affected:
    """A service on a machine that uses the library.

    Attributes:
        name: the unit, container or script; "" where none is known.
        restart: the line that restarts it, "" where there is none.
        pids: its processes.
    """

    name: str
    restart: str
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the look at one machine before the upgrade has found.

    Attributes:
        name: in the inventory.
        problem: why it cannot be upgraded; "" where it can.
        unchanged: whether nothing is to be done there.
        services: who uses the library.
        installed: whether it has the library already, though processes may run another.
    """

    name: str
    problem: str = ""
    unchanged: bool = False
    services: tuple[Affected, ...] = ()
    installed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """An upgrade, as far as it has come.

    Attributes:
        id: names it.
        started: in seconds since the epoch.
        request: what was asked for.
        stage: how far it has come.
        machines: in the order in which they are upgraded.
        outlooks: what was found on each beforehand, those that are left out included.
        steps: what became of machines since it began, the oldest first.
    """

    id: str
    started: float
    request: Request
    stage: Stage = Stage.RUNNING
    machines: tuple[Machine, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    steps: tuple[Machine, ...] = ()

    @property
    def exit_code(self) -> int:
        """What an upgrade that ends so exits with."""
        if self.stage is Stage.HALTED:
            return NotTakenBack.exit_code
        failed = self.stage is Stage.TAKEN_BACK or self.named(State.FAILED, State.UNKNOWN)
        return MachinesFailed.exit_code if failed else 0

    def named(self, *states: State) -> tuple[str, ...]:
        """The machines that are in one of these states."""
        return tuple(one.name for one in self.machines if one.state in states)


def ordered(names: Sequence[str], canaries: Sequence[str]) -> tuple[str, ...]:
    """Machines in the order in which they are upgraded: canaries first, the others as they come."""
    return (*canaries, *(name for name in names if name not in canaries))


def serial(request: Request, done: int) -> tuple[str, ...]:
    """The sizes of the batches that are left when some machines are done.

    A percentage is of the machines that are left, as Ansible takes it.
    """
    canaries = ("1",) * max(0, len(request.canaries) - done)
    return (*canaries, *request.batches)


def to_take_back(rollout: Rollout) -> tuple[str, ...]:
    """The machines that have the new library by this upgrade, or may have it."""
    states = (State.INSTALLED, State.UNKNOWN)
    return tuple(m.name for m in rollout.machines if m.state in states and m.operation != "")
