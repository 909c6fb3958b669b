"""Upgrades of many machines: what would be done, and what became of each machine."""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from libswap.fleet.rollout import Machine, Outlook, Rollout, Stage, State
from libswap.operations.fleet import Left, Plan, Rollouts, Written
from libswap.report.text import printable

_COLOURS: Final = {
    State.INSTALLED: "green",
    State.UNCHANGED: "green",
    State.FAILED: "red",
    State.UNKNOWN: "red",
    State.TAKEN_BACK: "yellow",
    State.PENDING: "dim",
}


def render(result: Plan | Rollouts | Left | Written) -> Iterable[RenderableType]:
    """The plan, upgrades the oldest first, or where the archive is."""
    match result:
        case Plan():
            yield from _plan(result)
        case Rollouts(rollouts, damaged):
            for rollout in rollouts:
                yield from _rollout(rollout)
            for one in damaged:
                yield Text(f"{printable(one.path)} cannot be read: {printable(one.reason)}", "red")
            if damaged:
                yield Text("  look after its machines by hand, then remove it")
            if not rollouts and not damaged:
                yield Text("There has been no upgrade of many machines.")
        case Left(upgrade=upgrade, take_back=take_back):
            yield Text(f"resume would upgrade: {printable(', '.join(upgrade)) or 'none'}")
            yield Text(f"rollback would take back: {printable(', '.join(take_back)) or 'none'}")
        case Written(path, size, sha256):
            yield Text(f"{printable(path)}: {size / 1e6:.1f} MB, sha256 {sha256}")


def line(machine: Machine) -> str:
    """One machine in one line."""
    reason = f": {printable(machine.reason)}" if machine.reason else ""
    return f"{printable(machine.name)}: {machine.state.value}{reason}"


def _plan(plan: Plan) -> Iterator[RenderableType]:
    wanted = plan.request
    yield Text(f"{printable(wanted.source)} → {printable(wanted.destination)}", "bold")
    yield Text(f"  sha256 {wanted.sha256}", "dim")
    for machine in plan.machines:
        yield from _outlook(machine)
    for machine in plan.left_out:
        yield Text(f"  {printable(machine.name)}: left out: {printable(machine.problem)}", "red")
    moved = "; running processes are moved" if wanted.live else ""
    yield Text(f"{len(plan.machines)} machines in batches of {', '.join(plan.batches)}{moved}.")


def _outlook(machine: Outlook) -> Iterator[RenderableType]:
    if machine.unchanged:
        what = "has it already"
    else:
        what = "has it, processes would be moved" if machine.installed else "would be upgraded"
    yield Text(f"  {printable(machine.name)}: {what}")
    for service in machine.services:
        name = printable(service.name) or "no known service"
        yield Text(f"    {name}: {len(service.pids)} processes use it", "dim")


def _rollout(rollout: Rollout) -> Iterator[RenderableType]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(rollout.started))
    wanted = rollout.request
    yield Text.assemble((rollout.id, "bold"), f"  {when}  {printable(wanted.destination)}: ",
                        rollout.stage.value)  # fmt: skip
    for machine in rollout.machines:
        yield Text(f"  {line(machine)}", _COLOURS[machine.state], overflow="fold")
    if rollout.stage is Stage.RUNNING:
        yield Text(f"  go on with: libswap fleet resume {rollout.id}")
    if rollout.stage in (Stage.RUNNING, Stage.DONE, Stage.HALTED):
        yield Text(f"  go back with: libswap fleet rollback {rollout.id}")
