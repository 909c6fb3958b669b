"""One round for cron: deploy what is finished, leave what is not for the next."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from libswap.errors.base import LibswapError
from libswap.errors.watch import DropUnsettled
from libswap.linux.files import Directory
from libswap.operations import install, ledger
from libswap.operations.deployments import Ended, Foreseen, Preview, Round
from libswap.settings import Settings
from libswap.watch import installation, limits
from libswap.watch.bell import Bell
from libswap.watch.dropdir import DropDirectory
from libswap.watch.rule import Configuration
from libswap.watch.staging import Staging
from libswap.watch.station import Station
from libswap.watch.watcher import Hints, Watcher


def once(watcher: Watcher) -> Round:
    """Deploy all that is finished by the time that a file needs to settle.

    Raises:
        Stopped: it was told to end.
    """
    ended: list[Ended] = []
    everything: Hints = dict.fromkeys(watcher.stations)
    patience = [
        max(s.rule.patience.settle, s.rule.patience.quiet) for s in watcher.stations.values()
    ]
    deadline = time.monotonic() + max(patience)
    hints = everything
    while True:
        ended += watcher.work(hints)
        due = watcher.due()
        if due is None or time.monotonic() + due > deadline:
            break
        watcher.conveyor.bell.wait(due)
        hints = {}
    waiting = {path: names for path, names in watcher.waiting().items() if names}
    troubled = watcher.troubled()
    concerned = {*waiting, *troubled}
    held = tuple((path, why) for path, why in watcher.held().items() if path in concerned)
    stopped = tuple(path for path in watcher.stopped() if path in waiting)
    names = tuple(name for found in waiting.values() for name in found)
    return Round(tuple(ended), names, watcher.conveyor.postponed, held, stopped, troubled)


def preview(configuration: Configuration, settings: Settings, bell: Bell) -> Preview:
    """What `once` would do; nothing is changed.

    Files are copied to a temporary directory and judged there.
    """
    found: list[Foreseen] = []
    waiting: list[str] = []
    held: list[tuple[str, str]] = []
    past = ledger.past(settings)
    for rule in configuration.rules:
        box = DropDirectory.glance(rule.directory)
        try:
            station = Station(rule, box)
            station.look(None, time.monotonic())
            deadline = time.monotonic() + max(rule.patience.settle, rule.patience.quiet)
            while station.due and (at := min(station.due.values())) <= deadline:
                bell.wait(at - time.monotonic())
                station.look({}, time.monotonic())
            found += _foreseen(station, settings)
            hold = limits.hold(rule, limits.past_of(rule.directory, past), time.time())
            held += [(rule.directory, hold.reason)] if hold is not None else []
            done = {
                name for each in found for name in each.names if each.directory == rule.directory
            }
            waiting += [name for name in station.waiting() if name not in done]
        finally:
            box.close()
    return Preview(tuple(found), tuple(waiting), tuple(held))


def _foreseen(station: Station, settings: Settings) -> Iterator[Foreseen]:
    path = station.rule.directory
    for batch in station.ready(time.monotonic()).batches:
        with tempfile.TemporaryDirectory() as work, Directory(work) as directory:
            try:
                taken = Staging(directory).take(station.box, batch, "preview", station.rule)
            except DropUnsettled:
                continue
            verdicts: tuple[str, ...] = ()
            refusal = taken.refusal
            if not refusal:
                verdicts, refusal = _judged(taken.targets, station, settings)
            targets = tuple((Path(source).name, target) for source, target in taken.targets)
            yield Foreseen(path, batch.names, targets, verdicts, refusal)


def _judged(
    targets: tuple[tuple[str, str], ...], station: Station, settings: Settings
) -> tuple[tuple[str, ...], str]:
    try:
        plan = install.plan(installation.request(targets, station.rule), settings)
        installation.require_acceptable(plan, station.rule)
    except LibswapError as error:
        return (), error.message
    return tuple(c.verdict.value for c in plan.comparisons), ""
