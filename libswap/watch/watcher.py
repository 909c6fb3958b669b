"""All drop directories together: look, take what is ready, deploy it, one after the other."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from libswap.errors.base import LibswapError
from libswap.errors.install import LockHeld
from libswap.errors.watch import DropUnsettled
from libswap.install.transaction import new_id
from libswap.operations.deployments import Current, Deployment, Ended, Happening, Outcome
from libswap.settings import Settings
from libswap.watch import deployer, limits
from libswap.watch.batch import Batch
from libswap.watch.bell import Bell, Stopped
from libswap.watch.deployer import Tools
from libswap.watch.dropdir import DropDirectory
from libswap.watch.limits import Past
from libswap.watch.rule import Configuration, Policy, Rule
from libswap.watch.settle import Hint
from libswap.watch.station import Station
from libswap.watch.workplace import Workplace

_POSTPONED: Final = 15.0
"""Seconds until what could not go on is tried again."""

Listener: TypeAlias = Callable[[Happening], None]
"""Told of everything that happens."""

Hints: TypeAlias = Mapping[str, Mapping[str, Hint] | None]
"""What events said, by drop directory and name; None for a look at everything there."""


@dataclass(slots=True)
class Watcher:
    """What watches the directories of a configuration.

    Attributes:
        configuration: what to watch.
        settings: of the operations.
        workplace: what it writes.
        bell: what wakes it.
        listener: who is told.
        beat: told that work goes on.
        own_unit: the systemd unit that it runs in; "" for none.
        stations: the directories, by path.
        stopping: whether it is to end.
    """

    configuration: Configuration
    settings: Settings
    workplace: Workplace
    bell: Bell
    listener: Listener
    beat: Callable[[], None] = lambda: None
    own_unit: str = ""
    stations: dict[str, Station] = field(default_factory=dict)
    stopping: bool = False
    _past: dict[str, Past] = field(default_factory=dict)
    _held: dict[str, str] = field(default_factory=dict)
    _blocked: dict[str, float] = field(default_factory=dict)
    _unfinished: bool = True

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
        ledger = self.workplace.ledger()
        self._past = {path: limits.past_of(path, ledger) for path in made}

    def reopen(self, path: str) -> bool:
        """Open a drop directory anew if another stands there by now; returns whether it does."""
        station = self.stations[path]
        if station.box.is_current(path):
            return False
        try:
            box = open_box(station.rule)
        except LibswapError as error:
            self._hold(path, error.message)
            self._blocked[path] = time.monotonic() + _POSTPONED
            return False
        station.box.close()
        self.stations[path] = Station(station.rule, box)
        self._blocked.pop(path, None)
        self.say("reopened", "another directory stands there now", path)
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
        ended = list(self._finish())
        if self._has_unfinished():
            return ended
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
                self._stop_if_told()
            if self._has_unfinished():
                break
        return ended

    def due(self) -> float | None:
        """Seconds until something has to be looked at; None while only events can bring work."""
        now = time.monotonic()
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

    def clear_failures(self) -> None:
        """Count failures anew: somebody has looked after them."""
        if self.stopped():
            self.workplace.clear_failures()
        self._past = {path: Past(past.recent) for path, past in self._past.items()}

    def say(self, kind: str, text: str, path: str = "", *, trouble: bool = False) -> None:
        """Tell the listener."""
        self.listener(Happening(time.time(), kind, text, path, trouble=trouble))

    def _look(self, path: str, names: Mapping[str, Hint] | None) -> None:
        try:
            self.stations[path].look(names, time.monotonic())
        except LibswapError as error:
            self._hold(path, error.message)

    def _ready(self, path: str) -> list[tuple[str, Batch]]:
        """What can be deployed from a directory, as far as nothing keeps it."""
        station = self.stations[path]
        batches = station.ready(time.monotonic()).batches if station.settled else ()
        return [(path, batch) for batch in batches] if batches and self._may_deploy(path) else []

    def _has_unfinished(self) -> bool:
        """Whether a deployment has to be gone on with before another is begun."""
        return self._unfinished

    def _may_deploy(self, path: str) -> bool:
        if self._has_unfinished():
            return False
        now = time.monotonic()
        if self._blocked.get(path, now) > now:
            return False
        self._blocked.pop(path, None)
        held = self._hold_of(path)
        if held is not None:
            self._hold(path, held.reason)
        else:
            self._held.pop(path, None)
        return held is None

    def _hold_of(self, path: str) -> limits.Hold | None:
        past = self._past.get(path, Past())
        return limits.hold(self.stations[path].rule, past, time.time())

    def _hold(self, path: str, reason: str) -> None:
        """Say once why nothing is done for a directory."""
        if self._held.get(path) != reason:
            self._held[path] = reason
            self.say("waiting", reason, path, trouble=True)

    def _deploy(self, station: Station, batch: Batch) -> Ended | None:
        rule, path = station.rule, station.rule.directory
        id_ = new_id(time.time())
        try:
            taken = self.workplace.staging.take(station.box, batch, id_, rule)
        except DropUnsettled:
            self.workplace.staging.clear()
            self._look(path, None)
            return None
        except LibswapError as error:
            self.workplace.staging.clear()
            self._hold(path, error.message)
            self._blocked[path] = time.monotonic() + _POSTPONED
            return None
        station.forget_all(batch.names)
        if not taken.drops:
            return None
        deployment = Deployment(
            id_, path, rule.to, rule.policy.value, time.time(), taken.drops, taken.targets,
            taken.refusal,
        )  # fmt: skip
        return self._ended(lambda tools: deployer.begin(deployment, station.box, rule, tools))

    def _finish(self) -> Iterator[Ended]:
        """Go on with what an earlier watcher, or a held lock, has left."""
        if not self._unfinished or self._blocked.get("", 0.0) > time.monotonic():
            return
        current = self.workplace.record.current()
        self.workplace.staging.clear(but=current.deployment.id if current else "")
        if current is None:
            self._unfinished = False
            self._blocked.pop("", None)
            return
        deployment = current.deployment
        station = self.stations.get(deployment.directory)
        rule = station.rule if station is not None else _rule_of(current)
        box = station.box if station is not None else open_box(rule)
        text = f"deployment {deployment.id} was interrupted"
        self.say("resumed", text, deployment.directory)
        try:
            done = self._ended(lambda tools: deployer.resume(current, box, rule, tools))
        finally:
            if station is None:
                box.close()
        if done is not None:
            self._unfinished = False
            yield done

    def _ended(self, go: Callable[[Tools], Ended]) -> Ended | None:
        """Carry a deployment through; None where it has to be gone on with later."""
        try:
            ended = go(self._tools())
        except LibswapError as error:
            self._unfinished = True
            self._blocked[""] = time.monotonic() + _POSTPONED
            self.say("postponed", error.message, trouble=True)
            return None
        except Stopped:
            self._unfinished = True
            raise
        self._blocked.pop("", None)
        self.workplace.staging.clear()
        path = ended.deployment.directory
        self._past[path] = limits.after(self._past.get(path, Past()), ended)
        self._tell(ended)
        return ended

    def _tools(self) -> Tools:
        return Tools(
            self.settings, self.workplace.record, self.configuration.systemctl, self.own_unit,
            self.bell, self._stop_if_told, self.beat, self._step,
        )  # fmt: skip

    def _stop_if_told(self) -> None:
        self.beat()
        if self.stopping:
            raise Stopped

    def _step(self, deployment: Deployment, kind: str, text: str) -> None:
        names = tuple(drop.name for drop in deployment.drops)
        self.listener(
            Happening(time.time(), kind, text, deployment.directory, names, deployment.id)
        )

    def _tell(self, ended: Ended) -> None:
        done = ended.deployment
        remarks = "; ".join(ended.remarks)
        text = ended.reason or remarks or "in its place"
        self.listener(
            Happening(
                ended.ended, ended.outcome.value, text, done.directory,
                tuple(drop.name for drop in done.drops), done.id, ended.operation or "",
                trouble=ended.outcome is not Outcome.DEPLOYED,
            )
        )  # fmt: skip


def open_box(rule: Rule) -> DropDirectory:
    """A drop directory, for us alone.

    Raises:
        UntrustedDrop: others can write to it.
        LockHeld: another watcher has it.
    """
    box = DropDirectory.open(rule.directory)
    if not box.lock():
        box.close()
        raise LockHeld(rule.directory, 0, "watch")
    return box


def _rule_of(current: Current) -> Rule:
    """What is known of a directory that is no longer in the configuration."""
    deployment = current.deployment
    return Rule(deployment.directory, deployment.to, Policy(deployment.policy))
