"""One operation as a list of names that change what they stand for, all of them or none."""

import os
import pwd
import secrets
import time
from dataclasses import dataclass
from enum import Enum
from typing import Self

from libswap.install.content import Content
from libswap.linux.files import FileId


class Kind(Enum):
    """What was asked for."""

    INSTALL = "install"
    ROLLBACK = "rollback"
    PRUNE = "prune"


class Strategy(Enum):
    """How the new takes the place of the old."""

    RENAME = "rename"
    UNLINK = "unlink"


@dataclass(frozen=True, slots=True)
class Change:
    """One name that stands for something else afterwards.

    Attributes:
        directory: its real path.
        directory_id: which directory that was when the change was planned.
        name: the name in it.
        before: what it stands for now.
        after: what it will stand for.
        origin: the file to take the new bytes from: a path, or the name of a kept file in the
            store (which holds no slash); None where `after` is no file.
        stage: the name in the same directory under which the new is prepared.
        keep: the name under which the store keeps the old file; None where `before` is none.
    """

    directory: str
    directory_id: FileId
    name: str
    before: Content
    after: Content
    origin: str | None
    stage: str
    keep: str | None

    @property
    def path(self) -> str:
        """The name as a path."""
        return f"{self.directory.rstrip('/')}/{self.name}"


@dataclass(frozen=True, slots=True)
class Affected:
    """A process that had an old file mapped when the operation began.

    Attributes:
        pid: its PID.
        start_time: clock ticks from boot to its start.
        name: its command name.
    """

    pid: int
    start_time: int
    name: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asked.

    Attributes:
        uid: the real user id.
        name: its login name.
        behind: whom sudo or doas names as the person behind it.
    """

    uid: int
    name: str
    behind: str | None

    @classmethod
    def current(cls) -> Self:
        """The user that runs us; the person behind is what the environment says, for the record."""
        uid = os.getuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return cls(uid, name, os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER"))


@dataclass(frozen=True, slots=True)
class Transaction:
    """Everything that the doer needs, and all that recovery needs after a crash.

    Attributes:
        id: unique in a state directory, sorted by time.
        kind: what was asked for.
        time: when it was planned, seconds since the epoch.
        caller: who asked.
        strategy: how names are changed.
        changes: in the order in which they are made.
        ldconfig: whether the dynamic linker's cache must be told afterwards.
        affected: who runs on the old files.
        undoes: the operation that a rollback takes back.
    """

    id: str
    kind: Kind
    time: float
    caller: Caller
    strategy: Strategy
    changes: tuple[Change, ...]
    ldconfig: bool = False
    affected: tuple[Affected, ...] = ()
    undoes: str | None = None

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory in which something changes, once."""
        return tuple(dict.fromkeys(change.directory for change in self.changes))

    @property
    def kept(self) -> frozenset[str]:
        """The names that the store must keep so that this can be taken back."""
        return frozenset(change.keep for change in self.changes if change.keep)


def new_id(now: float) -> str:
    """A name for an operation: the time in UTC, and random digits for those of one second."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime(now)) + secrets.token_hex(4)


def stage_name(transaction_id: str, number: int) -> str:
    """The name under which a change is prepared.

    It starts with a dot and ends in no ".so": ldconfig(8) and file name patterns pass it by.
    """
    return f".libswap-{transaction_id}-{number}.stage"
