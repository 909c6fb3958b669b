"""One round for cron: deploy what is finished, leave what is not for the next."""

import os
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from libswap.errors.base import LibswapError
from libswap.errors.watch import DropUnsettled
from libswap.linux.files import Directory
from libswap.operations import install, ledger
from libswap.operations.deployments import Ended, Foreseen, Preview, Round
from libswap.operations.ledger import DIRECTORY
from libswap.settings import Settings
from libswap.watch import installation, limits
from libswap.watch.batch import Batch
from libswap.watch.bell import Bell
from libswap.watch.dropdir import DropDirectory
from libswap.watch.limits import Past
from libswap.watch.rule import Configuration
from libswap.watch.staging import NAME, Staging
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


def preview(
    configuration: Configuration, settings: Settings, bell: Bell, *, clear: bool = False
) -> Preview:
    """What `once` would do; nothing is changed.

    Files are copied to a temporary directory and judged there.
    """
    found: list[Foreseen] = []
    waiting: list[str] = []
    held: list[tuple[str, str]] = []
    ledger_, current = ledger.past(settings), ledger.tell(settings).current
    begun = current.deployment if current is not None else None
    with Directory(_standing(settings.state_dir.absolute() / DIRECTORY / NAME)) as room:
        for rule in configuration.rules:
            past = limits.past_of(rule.directory, ledger_)
            with closing(DropDirectory.glance(rule.directory)) as box:
                outlook = _Outlook(Station(rule, box), settings, room)
                if begun is not None and begun.directory == rule.directory:
                    outlook.station.leave(drop.name for drop in begun.drops)
                why = outlook.look(Past(past.recent) if clear else past, bell)
                done = {name for each in outlook.found for name in each.names}
                found += outlook.found
                held += [(rule.directory, why)] if why else []
                waiting += [name for name in outlook.station.waiting() if name not in done]
    names = tuple(drop.name for drop in begun.drops) if begun is not None else ()
    return Preview(tuple(found), tuple(waiting), tuple(held), names)


def _standing(path: Path) -> str:
    """The nearest directory that is there: what is made below it will be on its file system."""
    return next(str(p) for p in (path, *path.parents) if os.path.isdir(p))  # noqa: PTH112  no error


@dataclass(slots=True)
class _Outlook:
    """What would become of the files of one drop directory.

    Attributes:
        station: the directory.
        settings: of the operations.
        room: where files would be copied to.
        found: in the order in which they would be taken.
    """

    station: Station
    settings: Settings
    room: Directory
    found: list[Foreseen] = field(default_factory=list)

    def look(self, past: Past, bell: Bell) -> str:
        """Find out; returns why what is left would wait, "" where nothing keeps it.

        Args:
            past: what was deployed from there.
            bell: what wakes us.
        """
        try:
            self._settle(bell)
            for batch in self.station.ready(time.monotonic()).batches:
                hold = limits.hold(self.station.rule, past, time.time())
                if hold is not None:
                    return hold.reason
                past = self._take(batch, past)
        except LibswapError as error:
            return error.message
        return ""

    def _settle(self, bell: Bell) -> None:
        station, patience = self.station, self.station.rule.patience
        station.look(None, time.monotonic())
        deadline = time.monotonic() + max(patience.settle, patience.quiet)
        while station.due and (at := min(station.due.values())) <= deadline:
            bell.wait(at - time.monotonic())
            station.look({}, time.monotonic())

    def _take(self, batch: Batch, past: Past) -> Past:
        """Judge a batch; returns what would have been deployed then."""
        station = self.station
        with tempfile.TemporaryDirectory() as work, Directory(work) as directory:
            try:
                taken = Staging(directory, self.room).take(
                    station.box, batch, "preview", station.rule
                )
            except DropUnsettled:
                return past
            verdicts: tuple[str, ...] = ()
            refusal = taken.refusal
            if not refusal:
                verdicts, refusal = _judged(taken.targets, station, self.settings)
        targets = tuple((Path(source).name, target) for source, target in taken.targets)
        one = Foreseen(station.rule.directory, batch.names, targets, verdicts, refusal)
        self.found.append(one)
        return past if refusal else Past((*past.recent, time.time()))


def _judged(
    targets: tuple[tuple[str, str], ...], station: Station, settings: Settings
) -> tuple[tuple[str, ...], str]:
    try:
        plan = install.plan(installation.request(targets, station.rule), settings)
        installation.require_acceptable(plan, station.rule)
    except LibswapError as error:
        return (), error.message
    return tuple(c.verdict.value for c in plan.comparisons), ""
