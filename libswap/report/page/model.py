"""What a page shows, in text that is safe to print; the template only lays it out."""

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How something is to be taken; the palette has colours for each."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    PLAIN = "plain"


class Mark(StrEnum):
    """What one process runs of one library; each has a shape of its own besides its colour."""

    OLD = "old"
    NEW = "new"
    BOTH = "both"
    STUCK = "stuck"
    BROKEN = "broken"
    CURRENT = "current"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Row:
    """One process.

    Attributes:
        pid: its PID.
        name: its short name.
        depth: how many of its ancestors are shown above it.
        who: its user and since when it runs; "" where that is not known.
        command: its command line; likewise.
        said: what is the matter with it, library by library.
        tone: how that is to be taken.
        before: what it runs of each library.
        after: what it runs of them afterwards.
    """

    pid: int
    name: str
    depth: int
    who: str
    command: str
    said: tuple[str, ...]
    tone: Tone
    before: tuple[Mark, ...]
    after: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """The processes of one service, children below their parents.

    Attributes:
        name: of the service.
        kind: what it is.
        restart: the line that restarts it; "" where there is none to say.
        advice: what to know besides.
        rows: its processes.
        hidden: how many more there are.
    """

    name: str
    kind: str
    restart: str
    advice: str
    rows: tuple[Row, ...]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """One finding.

    Attributes:
        subject: what it is about.
        text: what was there, and what is there now.
        felt: who feels it.
    """

    subject: str
    text: str
    felt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """The findings of one kind.

    Attributes:
        word: its name.
        meaning: what follows from it.
        found: them.
        hidden: how many more there are.
    """

    word: str
    meaning: str
    found: tuple[Found, ...]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Severity:
    """The findings of one severity, folded together.

    Attributes:
        name: of the severity.
        tone: how they are to be taken.
        count: how many there are.
        rules: them by kind.
    """

    name: str
    tone: Tone
    count: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """How long one process stood still.

    Attributes:
        process: which.
        milliseconds: how long.
        percent: of the longest stop.
        detail: what else is known.
    """

    process: str
    milliseconds: float
    percent: float
    detail: str


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that was done.

    Attributes:
        at: when, in words.
        text: what.
    """

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of many.

    Attributes:
        name: in the inventory.
        said: what is the matter with it; "" where all is said by its group.
        services: who uses the library there.
        moments: what became of it, in order.
    """

    name: str
    said: str
    services: tuple[str, ...]
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The machines of which the same is to be said.

    Attributes:
        name: what that is.
        tone: how it is to be taken.
        count: how many there are.
        percent: of all machines.
        machines: them.
        hidden: how many more there are.
    """

    name: str
    tone: Tone
    count: int
    percent: float
    machines: tuple[Machine, ...]
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """A service, on all machines together.

    Attributes:
        name: of the service.
        restart: the line that restarts it; "" where there is none.
        machines: on how many it uses the library.
        processes: how many do.
    """

    name: str
    restart: str
    machines: int
    processes: int


@dataclass(frozen=True, slots=True)
class Page:
    """All of it.

    Attributes:
        title: what was asked for.
        verdict: the answer in one sentence.
        tone: how it is to be taken.
        facts: what it is about, each with its name.
        libraries: the columns of the picture.
        captions: what its two halves show; empty for no picture.
        blocks: services and their processes.
        groups: machines, where there are many; the worst first.
        spread: services over all machines.
        severities: findings.
        stops: the longest is whole.
        moments: what was done, in order.
        notes: what should be known besides.
    """

    title: str
    verdict: str
    tone: Tone
    facts: tuple[tuple[str, str], ...] = ()
    libraries: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    groups: tuple[Group, ...] = ()
    spread: tuple[Spread, ...] = ()
    severities: tuple[Severity, ...] = ()
    stops: tuple[Stop, ...] = ()
    moments: tuple[Moment, ...] = ()
    notes: tuple[str, ...] = ()
