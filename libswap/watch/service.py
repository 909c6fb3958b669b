"""The watcher as a service: waits for events, signals and times, and tells its service manager."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from libswap.errors.base import LibswapError, ReaderGone
from libswap.linux import service_manager
from libswap.watch.bell import Bell, Stopped
from libswap.watch.events import Events
from libswap.watch.rule import Configuration
from libswap.watch.watcher import Hints, Watcher

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)

AfterRound = Callable[[Watcher], None]
"""Told after each round of work."""


@dataclass(slots=True)
class Service:
    """One run of it.

    Attributes:
        watcher: does the work.
        bell: what wakes it.
        load: reads the configuration anew.
        after: told after each round: screens, metrics.
    """

    watcher: Watcher
    bell: Bell
    load: Callable[[], Configuration]
    after: tuple[AfterRound, ...] = ()
    _events: Events = field(init=False)
    _reload: bool = False
    _scanned: float = 0.0
    _watchdog: float | None = None
    _beaten: float = 0.0
    _complaint: str = ""

    def run(self) -> None:
        """Work until a signal says that it is enough; what is under way then is brought to an end.

        A deployment in its health gate is not: it goes on with the next start.
        """
        self._watchdog = service_manager.watchdog_seconds()
        self.watcher.conveyor.beat = self._beat
        with self._signals():
            self._observe()
            try:
                self.watcher.conveyor.say("started", f"watching {', '.join(self.watcher.stations)}")
                self._say_ready()
                self._rounds()
            except Stopped:
                pass
            finally:
                service_manager.notify("STOPPING=1")
                self._events.stop()
        self.watcher.conveyor.say("stopped", "told to end")

    def _rounds(self) -> None:
        while not self.watcher.conveyor.stopping:
            if self._reload:
                self._reload_configuration()
            hints = self._hints()
            self.watcher.work(hints)
            self._tell_others()
            self._beat()
            self.bell.wait(self._patience())

    def _tell_others(self) -> None:
        """Screens and metrics; one that fails is no reason to stop deploying."""
        for each in self.after:
            try:
                each(self.watcher)
            except ReaderGone:
                raise
            except LibswapError as error:
                if error.message != self._complaint:
                    self._complaint = error.message
                    self.watcher.conveyor.say("trouble", error.message, trouble=True)

    def _hints(self) -> Hints:
        """What events said; from time to time, and where they may be lost, everything."""
        found = dict(self._events.hints.take())
        if self._events.is_blind() or time.monotonic() >= self._due_to_scan():
            found = dict.fromkeys(self.watcher.stations)
        if None in found.values():
            if self._reopened(found):
                self._observe()
            self._scanned = time.monotonic()
        return found

    def _reopened(self, found: Hints) -> bool:
        """Whether another directory stands under a path, or nobody observes what does."""
        again = [self.watcher.reopen(p) for p in found if p in self.watcher.stations]
        return any(again) or self._events.is_blind()

    def _due_to_scan(self) -> float:
        return self._scanned + self.watcher.configuration.rescan

    def _patience(self) -> float:
        """Seconds until there is something to do without an event."""
        times = [self._due_to_scan() - time.monotonic()]
        due = self.watcher.due()
        times += [due] if due is not None else []
        times += [self._watchdog / 2] if self._watchdog is not None else []
        return max(min(times), 0.0)

    def _observe(self) -> None:
        if hasattr(self, "_events"):
            self._events.stop()
        self._events = Events(self.watcher.stations, self.bell)
        self._events.start()
        self._scanned = time.monotonic()

    # --- what a service manager and an administrator say ---

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {s: signal.signal(s, self._end) for s in _ENDING}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._read_again)
        wakeup = signal.set_wakeup_fd(self.bell.descriptor, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        self.watcher.conveyor.stopping = True

    def _read_again(self, *_: object) -> None:
        self._reload = True

    def _reload_configuration(self) -> None:
        """Take a new configuration on as a whole; where that fails the old one stays."""
        self._reload = False
        service_manager.notify(*service_manager.reloading())
        try:
            self.watcher.adopt(self.load())
        except LibswapError as error:
            self.watcher.conveyor.say("refused", f"the old one stays: {error}", trouble=True)
        else:
            self.watcher.clear_failures()
            self._observe()
            self.watcher.conveyor.say("reloaded", f"{len(self.watcher.stations)} drop directories")
        self._say_ready()

    def _say_ready(self) -> None:
        directories = ", ".join(self.watcher.stations)
        service_manager.notify("READY=1", f"STATUS=watching {directories}")

    def _beat(self) -> None:
        """Tell the service manager's watchdog that we live; not more often than it needs."""
        now = time.monotonic()
        if self._watchdog is not None and now - self._beaten >= self._watchdog / 4:
            self._beaten = now
            service_manager.notify("WATCHDOG=1")
