"""Events of the drop directories, as hints where to look: they come late, twice or not at all.

inotify(7) through watchdog; a look in intervals where others can change files without our kernel.
What watchdog complains about, an overflow of the kernel's queue among it, means: look everywhere.
"""

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.polling import PollingObserver

from libswap.linux import filesystems
from libswap.watch.bell import Bell
from libswap.watch.settle import Hint

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

_MOST: Final = 4096
_POLL_SECONDS: Final = 2.0
_HERE: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent, FileCreatedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
_ABOVE: Final[list[type[FileSystemEvent]]] = [DirCreatedEvent, DirDeletedEvent, DirMovedEvent]


class Hints:
    """What events said since it was last asked, bounded; threads may add to it."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, Hint] | None] = {}

    def add(self, directory: str, name: str, hint: Hint) -> None:
        """An event spoke of a name."""
        with self._lock:
            names = self._found.setdefault(directory, {})
            if names is None:
                return
            if names.get(name) is not Hint.FINISHED:
                names[name] = hint
            if len(names) > _MOST:
                self._found[directory] = None
        self._bell.ring()

    def everything(self, directories: Iterable[str]) -> None:
        """Events may have been lost: everything in these is to be looked at."""
        with self._lock:
            self._found.update(dict.fromkeys(directories))
        self._bell.ring()

    def take(self) -> Mapping[str, Mapping[str, Hint] | None]:
        """All of it; None for a directory in which everything is to be looked at."""
        with self._lock:
            found, self._found = self._found, {}
        return found


class Events:
    """Observers of some directories, from `start` to `stop`."""

    def __init__(self, directories: Iterable[str], bell: Bell) -> None:
        self.hints = Hints(bell)
        self._directories = tuple(directories)
        self._observers: list[BaseObserver] = []
        self._complaints = _Complaints(self)

    def start(self) -> None:
        """Begin to observe; what could not be observed is found by looking from time to time."""
        log = logging.getLogger("watchdog")
        log.propagate = False
        log.addHandler(self._complaints)
        try:
            self._observe(InotifyObserver())
        except OSError:  # no more instances or watches (inotify(7), /proc interfaces)
            self.stop()
            self._observe(PollingObserver(timeout=_POLL_SECONDS))
        self.everything()

    def _observe(self, near: "BaseObserver") -> None:
        far = PollingObserver(timeout=_POLL_SECONDS)
        for path in filter(os.path.isdir, self._directories):
            here = far if filesystems.is_remote(os.stat(path).st_dev) else near  # noqa: PTH116
            # Below as well: what we move to deployed/ and rejected/ is then seen to arrive, and
            # watchdog does not hold the events behind it back until it might.
            here.schedule(
                _Handler(path, self.hints), path, recursive=here is near, event_filter=_HERE
            )
        for path in self._directories:
            above = Path(path).parent
            if above.is_dir():
                near.schedule(_Replaced(path, self), str(above), event_filter=_ABOVE)
        for observer in (near, far):
            if observer.emitters:
                self._observers.append(observer)
                observer.start()

    def stop(self) -> None:
        """Stop observing."""
        for observer in self._observers:
            observer.stop()
        for observer in self._observers:
            if observer.is_alive():
                observer.join()
        self._observers = []
        logging.getLogger("watchdog").removeHandler(self._complaints)

    def is_blind(self) -> bool:
        """Whether an observer has ended by itself."""
        return not all(
            observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
            for observer in self._observers
        )

    def everything(self) -> None:
        """Have everything looked at."""
        self.hints.everything(self._directories)


class _Handler(FileSystemEventHandler):
    """Turns events of one directory into hints."""

    def __init__(self, directory: str, hints: Hints) -> None:
        self._directory = directory
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        finished = isinstance(event, FileClosedEvent)
        self._add(event.src_path, Hint.FINISHED if finished else Hint.TOUCHED)
        if isinstance(event, FileMovedEvent | DirMovedEvent):
            self._add(event.dest_path, Hint.FINISHED)

    def _add(self, path: bytes | str, hint: Hint) -> None:
        directory, _, name = os.fsdecode(path).rpartition("/")
        if directory == self._directory and name:
            self._hints.add(directory, name, hint)


class _Replaced(FileSystemEventHandler):
    """Watches the directory above: the drop directory may be moved away and made anew."""

    def __init__(self, directory: str, events: Events) -> None:
        self._directory = directory
        self._events = events

    def on_any_event(self, event: FileSystemEvent) -> None:
        if self._directory in (os.fsdecode(event.src_path), os.fsdecode(event.dest_path)):
            self._events.everything()


class _Complaints(logging.Handler):
    """Whatever watchdog warns of may have cost events."""

    def __init__(self, events: Events) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002  each means the same
        self._events.everything()
