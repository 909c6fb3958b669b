"""One drop directory over time: what lies there, how far each file has come, what is ready."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from libswap.errors.base import SystemRefused
from libswap.errors.watch import DropRefused
from libswap.watch import batch, manifest
from libswap.watch.batch import Sorted
from libswap.watch.dropdir import OURS, DropDirectory
from libswap.watch.intake import look
from libswap.watch.rule import Rule
from libswap.watch.settle import Hint, Print, Seen, Settled, Wait, is_ignored, judge, seen

_LEAST: Final = 0.1
"""Seconds between two looks at a file that changes under our eyes."""

_AGAIN: Final = 5.0
"""Seconds after which a file is looked at again that could not be."""


@dataclass(slots=True)
class Station:
    """A watched directory.

    Attributes:
        rule: what the configuration says of it.
        box: the directory, open.
        files: what was seen, by name.
        settled: since when each finished file has been so.
        due: when a file has to be looked at again, by name.
        left: what is done with and could not be moved away, by name.
    """

    rule: Rule
    box: DropDirectory
    files: dict[str, Seen] = field(default_factory=dict)
    settled: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    left: dict[str, Print] = field(default_factory=dict)
    _listings: dict[str, tuple[Print, Mapping[str, str] | str]] = field(default_factory=dict)

    def look(self, hints: Mapping[str, Hint] | None, now: float) -> None:
        """Look at the files that events spoke of, and at those whose time has come.

        Args:
            hints: what events said, by name; None for a look at everything.
            now: on the clock that only goes forward.
        """
        if hints is None:
            present = self.box.names()
            for name in self.files.keys() - set(present):
                self.forget(name)
            for name in present:
                self._look_at(name, None, now)
            return
        for name, hint in hints.items():
            self._look_at(name, hint, now)
        for name in [name for name, due in self.due.items() if due <= now and name not in hints]:
            self._look_at(name, None, now)

    def _look_at(self, name: str, hint: Hint | None, now: float) -> None:
        patterns = self.rule.ignore
        if name in OURS or is_ignored(name) or any(fnmatchcase(name, p) for p in patterns):
            return
        try:
            found = look(self.box.directory, name, self.rule.limits)
        except (SystemRefused, OSError):  # a network or a disk that fails: perhaps not for long
            self.due[name] = now + _AGAIN
            return
        if found is None:
            self.forget(name)
            return
        if self.left.get(name) == found.print:
            return
        before = self.files.get(name)
        after = seen(before, found, hint, now)
        if before is None and found.written is False:
            after = Seen(found, now - _age(found.print), after.finished)
        self.files[name] = after
        match judge(after, self.rule.patience, now):
            case Settled():
                self.settled.setdefault(name, now)
                self.due.pop(name, None)
            case Wait(until):
                self.settled.pop(name, None)
                self.due[name] = until

    def forget(self, name: str) -> None:
        """A name is gone, or what it stood for was deployed; what comes there next is new."""
        for known in (self.files, self.settled, self.due, self._listings):
            known.pop(name, None)

    def postpone(self, names: Iterable[str], now: float) -> None:
        """Files changed while they were taken: look at them anew, but not at once."""
        for name in names:
            self.forget(name)
            self.due[name] = now + max(self.rule.patience.settle, _LEAST)

    def leave(self, names: Iterable[str]) -> None:
        """What still lies there after its deployment is not taken again while it is as it is."""
        for name in names:
            status = self.box.directory.lstat(name)
            if status is not None:
                self.left[name] = Print.of(status)

    def forget_all(self, names: Iterable[str]) -> None:
        """Several names."""
        for name in names:
            self.forget(name)

    def ready(self, now: float) -> Sorted:
        """What can be deployed or refused now."""
        listings = {
            name: self._listing(name) for name in self.settled if name.endswith(manifest.SUFFIX)
        }
        return batch.sort(self.settled, self.files, listings, self.rule, now)

    def waiting(self) -> tuple[str, ...]:
        """Every file that is not yet deployed or refused."""
        return tuple(sorted(self.files))

    def _listing(self, name: str) -> Mapping[str, str] | str:
        """What a manifest lists, as a hint; what counts is read again from the staged bytes."""
        print_ = self.files[name].look.print
        known = self._listings.get(name)
        if known is None or known[0] != print_:
            known = (print_, self._read_listing(name))
            self._listings[name] = known
        return known[1]

    def _read_listing(self, name: str) -> Mapping[str, str] | str:
        try:
            descriptor = self.box.directory.open(name)
        except SystemRefused as error:
            return error.message
        try:
            data = os.pread(descriptor, manifest.MOST, 0)
            return manifest.parse(name, data, self.rule.limits.files)
        except DropRefused as refused:
            return refused.message
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        finally:
            os.close(descriptor)


def _age(print_: Print) -> float:
    """Seconds since a file changed, by its file system's clock; it has been as it is since then."""
    return max(time.time() - max(print_.ctime, print_.mtime) / 1e9, 0.0)
