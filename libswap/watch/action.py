"""What a policy does to running processes after an installation, and how that is taken back."""

from collections.abc import Callable, Sequence
from pathlib import Path

from libswap.errors.watch import HealthFailed
from libswap.install.transaction import Affected
from libswap.live.outlook import Options
from libswap.operations import install_live
from libswap.operations.deployments import Acted, Deployment, Installing
from libswap.operations.moves import MovedBack, ProcessResult, Refused
from libswap.operations.status import status
from libswap.operations.swap import Request, swap_library
from libswap.scan.usage import users_of
from libswap.settings import Settings
from libswap.watch import units
from libswap.watch.rule import Policy, Rule, Survival


def act(
    rule: Rule, done: Installing, settings: Settings, systemctl: str, beat: Callable[[], None]
) -> Acted:
    """Move or restart the processes that run the old libraries.

    Raises:
        HealthFailed: a unit could not be restarted.
        LibswapError: the processes could not be looked at.
    """
    match rule.policy:
        case Policy.NONE:
            return Acted(done.affected)
        case Policy.LIVE:
            return Acted(done.affected, tuple(_move(rule, done, settings, beat)))
        case Policy.RESTART:
            return _restart(done, systemctl)


def undo(rule: Rule, done: Installing, deployment: Deployment, systemctl: str) -> tuple[str, ...]:
    """Bring processes back to the files that are installed again; returns what did not work."""
    match rule.policy:
        case Policy.NONE:
            return ()
        case Policy.LIVE:
            return tuple(_move_back(done, deployment))
        case Policy.RESTART:
            complaint = units.restart(systemctl, done.units)
            return (complaint,) if complaint else ()


def _move(rule: Rule, done: Installing, settings: Settings, beat: Callable[[], None]) -> list[str]:
    """Returns who goes on with the old library, and why."""
    if not done.moves:
        return []
    (library, new), *more = [(Path(old), Path(new)) for old, new in done.moves]
    options = Options(accept_unknown=rule.survival is Survival.UNKNOWN)
    asked = Request(library, new, options=options, more=tuple(more), state_dir=settings.state_dir)
    report = swap_library(asked, lambda *_: beat())
    left = [
        f"process {one.pid} ({one.name}) goes on with the old {one.library}: {one.outcome.reason}"
        for one in report.processes
        if isinstance(one.outcome, Refused | MovedBack)
    ]
    if report.uninspected:
        left.append(f"processes that could not be looked at: {report.uninspected}")
    return left


def _move_back(done: Installing, deployment: Deployment) -> list[str]:
    """Every swap of these libraries since the deployment began is of its doing.

    The processes say so themselves, whether or not we lived to write it down.
    """
    names = {path for pair in done.moves for path in pair}
    ids = {
        event.id
        for process in status().processes
        for event in process.events
        if event.what == "swap" and event.library in names and event.when >= deployment.received
    }
    results: Sequence[ProcessResult] = tuple(install_live.processes_back(ids, Options()))
    return [
        f"process {one.pid} ({one.name}) was not moved back: {one.outcome.reason}"
        for one in results
        if isinstance(one.outcome, Refused | MovedBack)
    ]


def _restart(done: Installing, systemctl: str) -> Acted:
    complaint = units.restart(systemctl, done.units)
    if complaint:
        raise HealthFailed(complaint)
    found = users_of([new for _, new in done.moves]).users if done.units else ()
    return Acted(
        tuple(
            Affected(user.process.identity.pid, user.process.identity.start_time, user.process.name)
            for user in found
            if user.process.service.name in done.units
        )
    )
