"""The processes that a result is about, as trees below their services."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from libswap.report import words
from libswap.report.page.model import Block, Mark, Row, Tone
from libswap.report.text import printable
from libswap.scan.owner import Process
from libswap.scan.services import Service, ServiceKind

_MOST_BLOCKS: Final = 200
_MOST_ROWS: Final = 100
_MOST_LIBRARIES: Final = 12
_UNKNOWN: Final = Service(ServiceKind.NONE.value, "", "")
_WORSE: Final = (Tone.PLAIN, Tone.GOOD, Tone.WARN, Tone.BAD)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one library in one process.

    Attributes:
        pid: of the process.
        name: its short name.
        library: the library's path.
        before: what it runs of it.
        after: what it runs afterwards.
        said: what there is to say.
        tone: how that is to be taken.
    """

    pid: int
    name: str
    library: str
    before: Mark
    after: Mark
    said: str
    tone: Tone


@dataclass(slots=True)
class _One:
    """What is known of one process so far."""

    name: str
    fates: dict[str, Fate] = field(default_factory=dict)


def libraries(fates: Iterable[Fate]) -> tuple[str, ...]:
    """The columns of the picture: the libraries of most processes, if there are too many."""
    counts: dict[str, int] = {}
    for fate in fates:
        counts[fate.library] = counts.get(fate.library, 0) + 1
    most = sorted(counts, key=lambda library: (-counts[library], library))[:_MOST_LIBRARIES]
    return tuple(sorted(most))


def blocks(
    fates: Sequence[Fate], known: Mapping[int, Process], *, restart: bool
) -> tuple[Block, ...]:
    """The services, the ones with most processes first.

    Args:
        fates: what becomes of whom.
        known: the facts of processes.
        restart: whether a restart is what they need.
    """
    ones: dict[int, _One] = {}
    for fate in fates:
        one = ones.setdefault(fate.pid, _One(fate.name))
        one.fates[fate.library] = fate
    columns = libraries(fates)

    def service(pid: int) -> Service:
        return known[pid].service if pid in known else _UNKNOWN

    found = [
        _block(owner, list(pids), ones, known, columns, restart=restart)
        for owner, pids in groupby(sorted(ones, key=lambda pid: (service(pid), pid)), service)
    ]
    found.sort(key=lambda block: (not block.name, -len(block.rows)))
    return tuple(found[:_MOST_BLOCKS])


def _block(
    service: Service, pids: Sequence[int], ones: Mapping[int, _One], known: Mapping[int, Process],
    columns: Sequence[str], *, restart: bool,
) -> Block:  # fmt: skip
    rows = tuple(
        _row(pid, depth, ones[pid], known.get(pid), columns) for pid, depth in in_trees(pids, known)
    )
    return Block(
        printable(service.name) or "No known service",
        service.kind if service.name else "",
        printable(service.restart) if restart else "",
        printable(service.advice) if restart else "",
        rows[:_MOST_ROWS],
        max(len(rows) - _MOST_ROWS, 0),
    )


def in_trees(pids: Sequence[int], known: Mapping[int, Process]) -> Iterator[tuple[int, int]]:
    """Each process with its depth, children below their parents, as far as these are shown."""
    wanted = set(pids)
    children: dict[int | None, list[int]] = {}
    for pid in sorted(pids, reverse=True):
        parent = known[pid].parent if pid in known else None
        children.setdefault(parent if parent in wanted and parent != pid else None, []).append(pid)
    waiting = [(pid, 0) for pid in children.get(None, ())]
    seen: set[int] = set()
    while waiting:
        pid, depth = waiting.pop()
        seen.add(pid)
        yield pid, depth
        waiting += [(child, depth + 1) for child in children.get(pid, ())]
    # PIDs that were used again meanwhile can make a ring, which nothing above leads to.
    yield from ((pid, 0) for pid in pids if pid not in seen)


def _row(pid: int, depth: int, one: _One, process: Process | None, columns: Sequence[str]) -> Row:
    fates = list(one.fates.values())
    many = len(columns) > 1
    return Row(
        pid,
        printable(one.name),
        min(depth, 6),
        f"{printable(process.user)}, since {words.when(process.started)}" if process else "",
        printable(" ".join(process.command)[:500]) if process else "",
        tuple(f"{printable(f.library)}: {f.said}" if many else f.said for f in fates if f.said),
        max((fate.tone for fate in fates), key=_WORSE.index),
        tuple(one.fates[c].before if c in one.fates else Mark.NONE for c in columns),
        tuple(one.fates[c].after if c in one.fates else Mark.NONE for c in columns),
    )
