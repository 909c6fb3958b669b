"""All drop directories together: look at them, and hand over what is ready to be deployed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.watch import DropUnsettled
from libswap.install.transaction import new_id
from libswap.operations.deployments import Deployment, Ended
from libswap.watch import limits
from libswap.watch.batch import Batch
from libswap.watch.conveyor import Conveyor, open_box
from libswap.watch.dropdir import DropDirectory
from libswap.watch.limits import Past
from libswap.watch.rule import Configuration, Rule
from libswap.watch.settle import Hint
from libswap.watch.station import Station

_POSTPONED: Final = 15.0
"""Seconds until what could not go on is tried again."""

Hints: TypeAlias = Mapping[str, Mapping[str, Hint] | None]
"""What events said, by drop directory and name; None for a look at everything there."""


@dataclass(slots=True)
class Watcher:
    """What watches the directories of a configuration.

    Attributes:
        configuration: what to watch.
        conveyor: deploys what was taken.
        stations: the directories, by path.
    """

    configuration: Configuration
    conveyor: Conveyor
    stations: dict[str, Station] = field(default_factory=dict)
    _past: dict[str, Past] = field(default_factory=dict)
    _held: dict[str, str] = field(default_factory=dict)
    _unlisted: dict[str, str] = field(default_factory=dict)
    _blocked: dict[str, float] = field(default_factory=dict)

    def adopt(self, configuration: Configuration) -> None:
        """Watch what a configuration says from now on, all of it or go on as before.

        Raises:
            UntrustedDrop, LockHeld, SystemRefused: of a directory; nothing has changed then.
        """
        made: dict[str, Station] = {}
        opened: list[DropDirectory] = []
        try:
            for rule in configuration.rules:
                old = self.stations.get(rule.directory)
                box = old.box if old is not None else open_box(rule)
                opened += [box] if old is None else []
                made[rule.directory] = Station(rule, box)
        except BaseException:
            for box in opened:
                box.close()
            raise
        for path in self.stations.keys() - made.keys():
            self.stations[path].box.close()
        self.configuration, self.stations = configuration, made
        self.conveyor.systemctl = configuration.systemctl
        ledger = self.conveyor.workplace.ledger()
        self._past = {path: limits.past_of(path, ledger) for path in made}

    def reopen(self, path: str) -> bool:
        """Open a drop directory anew if another stands there by now; returns whether it does."""
        station = self.stations[path]
        if station.box.is_current(path):
            return False
        try:
            box = open_box(station.rule)
        except LibswapError as error:
            self._block(path, error.message)
            return False
        station.box.close()
        self.stations[path] = Station(station.rule, box)
        self._blocked.pop(path, None)
        self.conveyor.say("reopened", "another directory stands there now", path)
        return True

    def close(self) -> None:
        """Let go of every directory."""
        for station in self.stations.values():
            station.box.close()

    # --- work ---

    def work(self, hints: Hints) -> list[Ended]:
        """Look where events, or the time, say so, and deploy what is ready.

        Raises:
            Stopped: it is to end; what is under way is on the disk.
        """
        interrupted = self._has_unfinished()
        first = self._counted(self.conveyor.finish(self._find))
        ended = [first] if first is not None else []
        if self._has_unfinished():
            return ended
        if interrupted:  # what events said meanwhile was passed by
            hints = dict.fromkeys(self.stations)
        for path, names in hints.items():
            if path in self.stations:
                self._look(path, names)
        for path in self.stations.keys() - hints.keys():
            self._look(path, {})
        while found := [each for path in self.stations for each in self._ready(path)]:
            for path, batch in found:
                if self._may_deploy(path):
                    done = self._deploy(self.stations[path], batch)
                    ended += [done] if done is not None else []
                self.conveyor.stop_if_told()
            if self._has_unfinished():
                break
        return ended

    def due(self) -> float | None:
        """Seconds until something has to be looked at; None while only events can bring work."""
        now = time.monotonic()
        if self._has_unfinished():
            return max(self.conveyor.again - now, 0.0)
        self._blocked = {path: until for path, until in self._blocked.items() if until > now}
        times = list(self._blocked.values())
        for path, station in self.stations.items():
            if path in self._blocked:
                continue
            times += station.due.values()
            later = station.ready(now).due
            times += [later] if later is not None else []
            held = self._hold_of(path)
            if held is not None and held.seconds is not None and station.settled:
                times.append(now + held.seconds)
        return max(min(times) - now, 0.0) if times else None

    def waiting(self) -> dict[str, tuple[str, ...]]:
        """What lies in each directory and is not done with."""
        return {path: station.waiting() for path, station in self.stations.items()}

    def stopped(self) -> tuple[str, ...]:
        """The directories that too many failures have stopped."""
        held = ((path, self._hold_of(path)) for path in self.stations)
        return tuple(path for path, hold in held if hold is not None and hold.seconds is None)

    def held(self) -> dict[str, str]:
        """Why nothing is deployed from some directories for now."""
        return self._held | self._unlisted

    def troubled(self) -> tuple[str, ...]:
        """The directories with which something is wrong that no hour resolves, as a full disk."""
        return tuple(p for p in self.stations if p in self._unlisted or p in self._blocked)

    def clear_failures(self) -> None:
        """Count failures anew: somebody has looked after them."""
        if self.stopped():
            self.conveyor.workplace.clear_failures()
        self._past = {path: Past(past.recent) for path, past in self._past.items()}

    def _look(self, path: str, names: Mapping[str, Hint] | None) -> None:
        try:
            self.stations[path].look(names, time.monotonic())
        except LibswapError as error:
            if self._unlisted.get(path) != error.message:
                self._unlisted[path] = error.message
                self.conveyor.say("waiting", error.message, path, trouble=True)
        else:
            if names is None:
                self._unlisted.pop(path, None)

    def _ready(self, path: str) -> list[tuple[str, Batch]]:
        """What can be deployed from a directory, as far as nothing keeps it."""
        station = self.stations[path]
        batches = station.ready(time.monotonic()).batches if station.settled else ()
        return [(path, batch) for batch in batches] if batches and self._may_deploy(path) else []

    def _has_unfinished(self) -> bool:
        """Whether a deployment has to be gone on with before another is begun."""
        return self.conveyor.unfinished

    def _may_deploy(self, path: str) -> bool:
        if self._has_unfinished():
            return False
        now = time.monotonic()
        if self._blocked.get(path, now) > now:
            return False
        self._blocked.pop(path, None)
        held = self._hold_of(path)
        if held is not None:
            self._hold(path, held.reason, trouble=held.seconds is None)
        else:
            self._held.pop(path, None)
        return held is None

    def _hold_of(self, path: str) -> limits.Hold | None:
        past = self._past.get(path, Past())
        return limits.hold(self.stations[path].rule, past, time.time())

    def _hold(self, path: str, reason: str, *, trouble: bool) -> None:
        """Say once why nothing is done for a directory."""
        if self._held.get(path) != reason:
            self._held[path] = reason
            self.conveyor.say("waiting", reason, path, trouble=trouble)

    def _block(self, path: str, reason: str) -> None:
        """Something is in the way; it is tried again."""
        self._hold(path, reason, trouble=True)
        self._blocked[path] = time.monotonic() + _POSTPONED

    def _deploy(self, station: Station, batch: Batch) -> Ended | None:
        rule, path = station.rule, station.rule.directory
        id_ = new_id(time.time())
        try:
            station.box = station.box.whole()
            taken = self.conveyor.workplace.staging.take(station.box, batch, id_, rule)
        except DropUnsettled:
            self.conveyor.workplace.staging.clear()
            station.postpone(batch.names, time.monotonic())
            return None
        except LibswapError as error:
            self.conveyor.workplace.staging.clear()
            self._block(path, error.message)
            return None
        station.forget_all(batch.names)
        if not taken.drops:
            return None
        deployment = Deployment(
            id_, path, rule.to, rule.policy.value, time.time(), taken.drops, taken.targets,
            taken.refusal,
        )  # fmt: skip
        return self._counted(self.conveyor.begin(deployment, station.box, rule))

    def _counted(self, ended: Ended | None) -> Ended | None:
        if ended is not None:
            path = ended.deployment.directory
            if ended.left and path in self.stations:
                self.stations[path].leave(drop.name for drop in ended.deployment.drops)
            self._past[path] = limits.after(self._past.get(path, Past()), ended)
        return ended

    def _find(self, path: str) -> tuple[DropDirectory, Rule] | None:
        station = self.stations.get(path)
        return None if station is None else (station.box, station.rule)
