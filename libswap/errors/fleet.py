"""What can stop an upgrade of many machines."""

from dataclasses import dataclass
from typing import ClassVar

from libswap.errors.base import LibswapError


@dataclass(eq=False)
class Unbundled(LibswapError):
    """A part of libswap that machines need is not installed here, or not so that it can be sent."""

    exit_code: ClassVar[int] = 43
    distribution: str
    reason: str = "is not installed here"

    @property
    def message(self) -> str:
        return f"{self.distribution} {self.reason}, so it cannot be sent to the machines"

    @property
    def hint(self) -> str:
        return "Install it with: pip install 'libswap[fleet]'"


@dataclass(eq=False)
class AnsibleMissing(LibswapError):
    """ansible-runner or ansible-core is not installed."""

    exit_code: ClassVar[int] = 44

    @property
    def message(self) -> str:
        return "upgrading many machines needs ansible-core and ansible-runner"

    @property
    def hint(self) -> str:
        return "Install them with: pip install 'libswap[fleet]'"


@dataclass(eq=False)
class AnsibleFailed(LibswapError):
    """Ansible could not run a playbook at all."""

    exit_code: ClassVar[int] = 45
    reason: str

    @property
    def message(self) -> str:
        return f"Ansible could not begin: {self.reason}"

    @property
    def hint(self) -> str:
        return "Nothing was changed on any machine."


@dataclass(eq=False)
class InventoryUnusable(LibswapError):
    """An inventory cannot be read, or names no machine that is asked for."""

    exit_code: ClassVar[int] = 46
    inventories: tuple[str, ...]
    limit: str
    reason: str

    @property
    def message(self) -> str:
        wanted = f" that match {self.limit}" if self.limit else ""
        return f"{', '.join(self.inventories)} names no machines{wanted}: {self.reason}"

    @property
    def hint(self) -> str:
        return f"See what it names with: ansible-inventory -i {self.inventories[0]} --graph"


@dataclass(eq=False)
class NotReady(LibswapError):
    """Some machines cannot be upgraded as they are; none was changed."""

    exit_code: ClassVar[int] = 47
    problems: tuple[tuple[str, str], ...]
    none_left: bool = False

    @property
    def message(self) -> str:
        told = "; ".join(f"{name}: {problem}" for name, problem in self.problems[:5])
        more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        few = f"{len(self.problems)} of the machines cannot"
        which = "none of the machines can" if self.none_left else few
        return f"{which} be upgraded: {told}{more}"

    @property
    def hint(self) -> str:
        if self.none_left:
            return "Mend them. No machine was changed."
        return "Mend them, or leave them out with --skip-unready. No machine was changed."


@dataclass(eq=False)
class MachinesFailed(LibswapError):
    """Machines failed; every one that had been changed and had to go back was taken back."""

    exit_code: ClassVar[int] = 48
    id: str
    machines: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{', '.join(self.machines)} failed in the upgrade {self.id}"

    @property
    def hint(self) -> str:
        return f"See why with: libswap fleet status {self.id}"


@dataclass(eq=False)
class NotTakenBack(LibswapError):
    """An upgrade was halted, and machines may still have the new library."""

    exit_code: ClassVar[int] = 49
    id: str
    machines: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{', '.join(self.machines)} could not be taken back"

    @property
    def hint(self) -> str:
        return f"When they answer again: libswap fleet rollback {self.id}"


@dataclass(eq=False)
class NoSuchRollout(LibswapError):
    """No upgrade of many machines has this id, or its record is damaged."""

    exit_code: ClassVar[int] = 50
    id: str
    reason: str = "there is none"

    @property
    def message(self) -> str:
        return f"no upgrade {self.id}: {self.reason}"

    @property
    def hint(self) -> str:
        return "List them with: libswap fleet status"


@dataclass(eq=False)
class RolloutBusy(LibswapError):
    """Another libswap is at work on the same upgrade."""

    exit_code: ClassVar[int] = 51
    id: str

    @property
    def message(self) -> str:
        return f"another libswap is at work on the upgrade {self.id}"

    @property
    def hint(self) -> str:
        return "Wait for it, or end it with Ctrl-C where it runs."
