"""What a run of Ansible tells of each machine: what was found there, and what becomes of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from libswap.fleet.ansible import Happened, TaskEvent
from libswap.fleet.record import Record
from libswap.fleet.rollout import Affected, Machine, Outlook, Rollout, State

Watcher: TypeAlias = Callable[[Machine], None]
"""Told of every machine that has come further."""


class Looking:
    """Gathers what the look before the upgrade finds."""

    def __init__(self, found: dict[str, Outlook]) -> None:
        self.found = found

    def batch(self) -> None:
        """All machines are looked at in one."""

    def event(self, event: TaskEvent) -> None:
        """Take what a task says of a machine."""
        match event.what, event.task:
            case Happened.FAILED | Happened.UNREACHABLE, _:
                self.found[event.host] = Outlook(event.host, event.reason)
            case Happened.SUCCEEDED, "What would be done":
                self.found[event.host] = Outlook(
                    event.host,
                    unchanged=not event.result.get("changed"),
                    installed=not event.result.get("replaced"),
                )
            case Happened.SUCCEEDED, "Who uses the library":
                services = tuple(map(_affected, event.result.get("services", ())))
                self.found[event.host] = replace(self.found[event.host], services=services)


def _affected(service: Mapping[str, Any]) -> Affected:
    return Affected(service["name"], service["restart"], tuple(service["pids"]))


def again(rollout: Rollout) -> tuple[str, ...]:
    """The machines where an installation was begun that may, or may not, have come to its end."""
    return rollout.named(State.UNKNOWN)


class _Noting:
    """Writes down what becomes of each machine, before the next task runs."""

    def __init__(self, written: Record, watcher: Watcher) -> None:
        self._written = written
        self._watcher = watcher

    def batch(self) -> None:
        """The next batch begins."""

    def begin(self, name: str) -> None:
        """From now on the machine may have the new library."""
        before = self._written.machine(name)
        self._written.note(replace(before, state=State.UNKNOWN, since=time.time()))

    def note(self, name: str, state: State, reason: str = "", operation: str | None = None) -> None:
        before = self._written.machine(name)
        known = before.operation if operation is None else operation
        machine = Machine(name, state, reason or before.reason, known, time.time())
        self._written.note(machine)
        self._watcher(machine)


class Upgrade(_Noting):
    """Follows the upgrade, and judges each batch as Ansible does (max_fail_percentage)."""

    def __init__(self, written: Record, watcher: Watcher) -> None:
        super().__init__(written, watcher)
        self.too_many_failed = False
        self._again = again(written.rollout)
        self._seen: set[str] = set()
        self._failed: set[str] = set()

    def batch(self) -> None:
        """A batch is complete, and the next may begin."""
        share = 100 * len(self._failed) / max(1, len(self._seen))
        self.too_many_failed |= share > self._written.request.most_failures
        self._seen, self._failed = set(), set()

    def event(self, event: TaskEvent) -> None:
        """Write down where the upgrade of a machine is."""
        self._seen.add(event.host)
        match event.what, event.task:
            case Happened.BEGAN, "Install":
                self.begin(event.host)
            case Happened.SUCCEEDED, "Install":
                none = None if event.host in self._again else ""
                operation = event.result.get("operation", none)
                self.note(event.host, State.INSTALLED, operation=operation)
            case Happened.SUCCEEDED, "Take the machine back":
                self.note(event.host, State.FAILED)
            case Happened.FAILED, "Health of the batch":
                self.too_many_failed = True
            case ((Happened.FAILED | Happened.UNREACHABLE), "The machine has failed"):
                pass
            case Happened.FAILED | Happened.UNREACHABLE, _:
                self._fail(event)

    def _fail(self, event: TaskEvent) -> None:
        operation = event.result.get("operation") if event.task == "Install" else None
        self.note(event.host, State.UNKNOWN, event.reason, operation)
        self._failed.add(event.host)


class WayBack(_Noting):
    """Follows the machines back."""

    def event(self, event: TaskEvent) -> None:
        """Write down whether a machine is back."""
        match event.what:
            case Happened.SUCCEEDED:
                self.note(event.host, State.TAKEN_BACK)
            case Happened.FAILED | Happened.UNREACHABLE:
                self.note(event.host, State.UNKNOWN, event.reason)
            case Happened.BEGAN:
                pass
