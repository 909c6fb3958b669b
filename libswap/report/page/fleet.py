"""Upgrades of many machines as pages: what became of each, and who is affected."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from libswap.errors.fleet import NotReady
from libswap.fleet.rollout import Affected, Machine, Outlook, Rollout, Stage, State, to_take_back
from libswap.operations.fleet import Damaged, Left, Plan, Rollouts
from libswap.report import words
from libswap.report.page import model
from libswap.report.page.model import Group, Moment, Page, Spread, Tone
from libswap.report.text import printable

_MOST_MACHINES: Final = 1000
_MOST_SERVICES: Final = 50
_TONES: Final[Mapping[State, Tone]] = {
    State.UNKNOWN: Tone.BAD,
    State.FAILED: Tone.BAD,
    State.TAKEN_BACK: Tone.WARN,
    State.PENDING: Tone.PLAIN,
    State.INSTALLED: Tone.GOOD,
    State.UNCHANGED: Tone.GOOD,
}
"""The worst first."""
_LEFT_OUT: Final = "left out"


def page_of(result: Plan | Rollouts | Left) -> Page:
    """The page for a result of `libswap fleet`."""
    match result:
        case Plan():
            return _plan(result)
        case Rollouts((rollout,), ()):
            return _rollout(rollout)
        case Rollouts(rollouts, damaged):
            return _several(rollouts, damaged)
        case Left(identifier, upgrade, take_back):
            said = (f"resume would upgrade {_machines(upgrade)}",
                    f"rollback would take back {_machines(take_back)}")  # fmt: skip
            return Page(f"Upgrade {identifier}", "Nothing was changed.", Tone.PLAIN, notes=said)


def _plan(plan: Plan) -> Page:
    wanted = plan.request
    ready, out = _shown(plan.machines), _shown(plan.left_out)
    kinds = {
        _LEFT_OUT: (Tone.WARN, out),
        "would be upgraded": (Tone.PLAIN, [m for m, o in _with(ready, plan) if not o.unchanged]),
        State.UNCHANGED.value: (Tone.GOOD, [m for m, o in _with(ready, plan) if o.unchanged]),
    }
    moved = "moved onto the new library" if wanted.live else "left as they are"
    return Page(
        "Plan of an upgrade of many machines",
        f"Nothing was changed. {_count(len(plan.machines))} can be upgraded"
        + (f", {len(out)} cannot." if out else "."),
        Tone.WARN if out else Tone.GOOD,
        facts=(
            ("New library", f"{printable(wanted.source)}, SHA-256 {wanted.sha256}"),
            ("Replaces", printable(wanted.destination)),
            ("Batches", ", ".join(plan.batches)),
            ("Running processes", f"would be {moved}"),
        ),
        groups=_groups(kinds),
        spread=_spread(plan.machines),
    )


def not_ready(error: NotReady) -> Page:
    """The page for machines that cannot be upgraded, all of them."""
    machines = [
        model.Machine(printable(name), printable(problem), (), ())
        for name, problem in error.problems
    ]
    return Page(
        "Upgrade of many machines",
        f"Stopped: {_count(len(machines))} cannot be upgraded.",
        Tone.BAD,
        groups=_groups({"cannot be upgraded": (Tone.BAD, machines)}),
        notes=(error.hint,),
    )


def _with(shown: Iterable[model.Machine], plan: Plan) -> Iterator[tuple[model.Machine, Outlook]]:
    return zip(shown, plan.machines, strict=True)


def _rollout(rollout: Rollout) -> Page:
    wanted = rollout.request
    found = {one.name: one for one in rollout.outlooks}
    shown = dict(zip((m.name for m in rollout.machines), _told(rollout, found), strict=True))
    left_out = [one for one in rollout.outlooks if one.problem]
    kinds = {
        state.value: (tone, [shown[name] for name in rollout.named(state)])
        for state, tone in _TONES.items()
    }
    said, tone = _verdict(rollout)
    return Page(
        "Upgrade of many machines",
        said,
        tone,
        facts=(
            ("Upgrade", f"{rollout.id}, begun {words.when(rollout.started)}"),
            ("New library", f"{printable(wanted.source)}, SHA-256 {wanted.sha256}"),
            ("Replaces", printable(wanted.destination)),
            ("Running processes", "are moved" if wanted.live else "are left as they are"),
        ),
        groups=_groups({**kinds, _LEFT_OUT: (Tone.WARN, _shown(left_out))}),
        spread=_spread(one for one in rollout.outlooks if not one.problem),
        notes=_next(rollout),
    )


def _several(rollouts: Sequence[Rollout], damaged: Sequence[Damaged]) -> Page:
    return Page(
        "Upgrades of many machines",
        f"There have been {len(rollouts)}.",
        Tone.PLAIN,
        facts=tuple(
            (one.id, f"{printable(one.request.destination)}: {one.stage.value}") for one in rollouts
        ),
        notes=tuple(
            f"{printable(one.path)} cannot be read: {printable(one.reason)}" for one in damaged
        ),
    )


def _verdict(rollout: Rollout) -> tuple[str, Tone]:
    have = len(rollout.named(State.INSTALLED, State.UNCHANGED))
    failed = len(rollout.named(State.FAILED, State.UNKNOWN))
    match rollout.stage:
        case Stage.RUNNING:
            return f"Under way, or interrupted: {_count(have)} have the library.", Tone.WARN
        case Stage.DONE if not failed:
            return f"Done: {_count(have)} have the library.", Tone.GOOD
        case Stage.DONE:
            return f"Done: {_count(have)} have the library, {failed} failed.", Tone.WARN
        case Stage.TAKEN_BACK:
            return (
                "Taken back: all that were changed have the old library again.",
                Tone.WARN,
            )
        case Stage.HALTED:
            unknown = _count(len(to_take_back(rollout)))
            return f"Halted: {unknown} could not be taken back.", Tone.BAD


def _next(rollout: Rollout) -> tuple[str, ...]:
    """What can be typed next."""
    on = (f"Go on with: libswap fleet resume {rollout.id}",) * (rollout.stage is Stage.RUNNING)
    if rollout.stage is Stage.TAKEN_BACK:
        return on
    return (*on, f"Go back with: libswap fleet rollback {rollout.id}")


def _told(rollout: Rollout, found: Mapping[str, Outlook]) -> Iterator[model.Machine]:
    """Each machine with what became of it."""
    steps: dict[str, list[Machine]] = {}
    for step in rollout.steps:
        steps.setdefault(step.name, []).append(step)
    for one in rollout.machines:
        outlook = found.get(one.name, Outlook(one.name))
        moments = tuple(map(_moment, steps.get(one.name, ())))
        reason = printable(one.reason)
        yield model.Machine(printable(one.name), reason, _services(outlook.services), moments)


def _moment(step: Machine) -> Moment:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(step.since))
    if step.state is not State.UNKNOWN:
        return Moment(at, step.state.value)
    return Moment(at, "it failed" if step.reason else "the installation begins")


def _shown(outlooks: Iterable[Outlook]) -> list[model.Machine]:
    """Machines of which only the look beforehand is known."""
    return [
        model.Machine(printable(one.name), printable(one.problem), _services(one.services), ())
        for one in outlooks
    ]


def _services(services: Sequence[Affected]) -> tuple[str, ...]:
    shown = [f"{_name(one)}: {words.count(len(one.pids))}" for one in services[:_MOST_SERVICES]]
    hidden = len(services) - len(shown)
    return (*shown, *((f"and {hidden} more",) if hidden else ()))


def _groups(kinds: Mapping[str, tuple[Tone, Sequence[model.Machine]]]) -> tuple[Group, ...]:
    total = sum(len(machines) for _, machines in kinds.values()) or 1
    return tuple(
        Group(
            name, tone, len(machines), 100 * len(machines) / total,
            tuple(machines[:_MOST_MACHINES]), max(0, len(machines) - _MOST_MACHINES),
        )
        for name, (tone, machines) in kinds.items()
        if machines
    )  # fmt: skip


def _spread(outlooks: Iterable[Outlook]) -> tuple[Spread, ...]:
    """The services over all machines, those on most machines first."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for outlook in outlooks:
        for one in outlook.services:
            key = (_name(one), printable(one.restart))
            machines, processes = counts.get(key, (0, 0))
            counts[key] = machines + 1, processes + len(one.pids)
    found = [Spread(*key, *numbers) for key, numbers in counts.items()]
    found.sort(key=lambda one: (-one.machines, -one.processes, one.name))
    return tuple(found[:_MOST_SERVICES])


def _name(service: Affected) -> str:
    return printable(service.name) or "no known service"


def _machines(names: Sequence[str]) -> str:
    return printable(", ".join(names)) or "none"


def _count(machines: int) -> str:
    return f"{machines} machine{'' if machines == 1 else 's'}"
