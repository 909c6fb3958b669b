"""What a commit writes: put together beforehand, compared, written and read back at its moment.

A prefix of the writes is what a target is left with if we are killed among them. Their order makes
every such prefix run correctly.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from libswap.errors.live import CommitConflict, CommitUndoFailed
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, ProcessMemory, Range
from libswap.live.expected import Expected
from libswap.live.quiescence import Forbidden

_GAP: Final = 256
_PIECE: Final = 4096


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes to be replaced.

    Attributes:
        address: where.
        old: what must be there at the moment of the commit.
        new: what is there afterwards, as long as `old`.
    """

    address: int
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """State to be carried over as it is at the moment of the commit.

    Attributes:
        source: address of the object in the old library.
        destination: address of the object in the new one.
        size: of both, in bytes.
        translate: makes the new bytes of the old ones; runs while the target stands still.
    """

    source: int
    destination: int
    size: int
    translate: Callable[[bytes], bytes] | None = None


Phase: TypeAlias = tuple[Write | Copy, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a commit does, computed beforehand.

    Attributes:
        phases: what to write, in this order; inside of a phase the order is free.
        forbidden: code that no thread may be inside of meanwhile.
        begun: written before the target is first stopped, so that the next run can undo.
        done: written last, after everything was read back.
        abandoned: written where the commit did not happen.
        still: addresses, and what must lie there at the moment of the commit; it is never written.
    """

    phases: tuple[Phase, ...]
    forbidden: tuple[Forbidden, ...] = ()
    begun: tuple[Write, ...] = ()
    done: tuple[Write, ...] = ()
    abandoned: tuple[Write, ...] = ()
    still: tuple[tuple[int, bytes], ...] = ()


class Writing:
    """The writes of one commit, and whether the target carries them.

    Attributes:
        standing: whether any of them is in the target now.
    """

    def __init__(self, pid: int, memory: ProcessMemory, prepared: Prepared) -> None:
        """Put together what lies close together; nothing is written yet."""
        self.prepared: Final = prepared
        self.standing = False
        self._pid: Final = pid
        self._memory: Final = memory
        self._runs: Final = [_runs(memory, phase) for phase in prepared.phases]
        self._areas: Final = tuple(
            dict.fromkeys(r for phase in self._runs for one in phase for r in _areas(one))
        )
        self._still: list[Expected] = []
        self._seen: dict[Range, Expected] = {}
        self._made: dict[int, _Made] = {}

    def look(self) -> None:
        """Check what can be checked before anybody stands still; what is read here is at hand then.

        Raises:
            CommitConflict: bytes are not what they should be.
        """
        still = self.prepared.still
        self._still = [Expected.of(self._memory, at, content) for at, content in still]
        self._require_still()
        self._checked()

    def apply(self) -> None:
        """Check everything, then write everything; on any fault put back what was written.

        To be asked for after `look`.
        """
        self._require_still()
        phases = self._checked()
        written: list[Write] = []
        self.standing = True
        try:
            for phase in phases:
                for write in phase:
                    written.append(write)
                    self._memory.write(write.address, write.new)
                _verify(self._memory, self._pid, phase)
            write_all(self._memory, self.prepared.done)
        except BaseException as error:
            _take_back(self._memory, self._pid, written, error)
            self.standing = False
            raise

    def _require_still(self) -> None:
        for one in self._still:
            if not one.holds(self._memory):
                _require(self._memory, self._pid, one.address, one.content)

    def _checked(self) -> list[list[Write]]:
        self._seen = {area: self._content(area) for area in self._areas}
        return [[w for one in phase for w in self._writes(one)] for phase in self._runs]

    def _content(self, area: Range) -> Expected:
        """What lies there; what is large mostly is what lay there the last time."""
        known = self._seen.get(area)
        if area.size > _PIECE and known is not None and known.holds(self._memory):
            return known
        content = self._memory.read(area.start, area.size)
        if known is not None and content == known.content:
            return known
        return Expected.of(self._memory, area.start, content)

    def _writes(self, one: "_Run | Copy") -> list[Write]:
        """Made anew only where what they are made of is not what it was the last time."""
        contents = [self._seen[area] for area in _areas(one)]
        known = self._made.get(id(one))
        if known is None or any(a is not b for a, b in zip(known.of, contents, strict=True)):
            found = list(_writes_of(self._pid, one, *(c.content for c in contents)))
            known = self._made[id(one)] = _Made(contents, found)
        return known.writes


class _Made(NamedTuple):
    """Writes, and the contents that they were made of."""

    of: list[Expected]
    writes: list[Write]


@dataclass(frozen=True, slots=True)
class _Run:
    """Writes that lie close together, done as one.

    Attributes:
        area: from the first to the last of them.
        expected: what lay there when it was prepared, the bytes in between included.
        new: what is written if it still does.
        writes: the single ones, for where the bytes in between have changed.
    """

    area: Range
    expected: bytes
    new: bytes
    writes: tuple[Write, ...]


def _runs(memory: Memory, phase: Phase) -> tuple[_Run | Copy, ...]:
    writes = sorted((w for w in phase if isinstance(w, Write)), key=lambda w: w.address)
    groups: list[list[Write]] = []
    for write in writes:
        if groups and write.address - groups[-1][-1].address <= _GAP:
            groups[-1].append(write)
        else:
            groups.append([write])
    return (*(c for c in phase if isinstance(c, Copy)), *(_run(memory, g) for g in groups))


def _run(memory: Memory, writes: list[Write]) -> _Run:
    area = Range(writes[0].address, writes[-1].address + len(writes[-1].old))
    before = memory.read(area.start, area.size)
    old, new = (_overlaid(area, before, writes, which) for which in ("old", "new"))
    return _Run(area, old, new, tuple(writes))


def _overlaid(area: Range, content: bytes, writes: Sequence[Write], which: str) -> bytes:
    data = bytearray(content)
    reached = area.start
    for write in writes:
        part: bytes = getattr(write, which)
        if write.address < reached or len(part) != len(write.old):
            raise AssertionError(f"writes of one phase overlap at {write.address:#x}")
        at = write.address - area.start
        data[at : at + len(part)] = part
        reached = write.address + len(part)
    return bytes(data)


def _areas(one: _Run | Copy) -> tuple[Range, ...]:
    if isinstance(one, _Run):
        return (one.area,)
    return (
        Range(one.source, one.source + one.size),
        Range(one.destination, one.destination + one.size),
    )


def _writes_of(
    pid: int, one: _Run | Copy, content: bytes, destination: bytes = b""
) -> Iterator[Write]:
    if isinstance(one, _Run):
        yield _write_of(pid, one, content)
        return
    data = one.translate(content) if one.translate else content
    yield from _different(one.destination, destination, data)


def _different(address: int, old: bytes, new: bytes) -> Iterator[Write]:
    """Only what is not there already: state is large, and most of it began as it is."""
    if old == new:
        return
    start = None
    for at in range(0, len(new) + _PIECE, _PIECE):
        same = old[at : at + _PIECE] == new[at : at + _PIECE]
        if same and start is not None:
            yield Write(address + start, old[start:at], new[start:at])
            start = None
        elif not same and start is None:
            start = at


def _write_of(pid: int, one: _Run, content: bytes) -> Write:
    if content == one.expected:
        return Write(one.area.start, content, one.new)
    for write in one.writes:
        at = write.address - one.area.start
        found = content[at : at + len(write.old)]
        if found != write.old:
            raise CommitConflict(pid, write.address, write.old, found)
    return Write(one.area.start, content, _overlaid(one.area, content, one.writes, "new"))


def _verify(memory: ProcessMemory, pid: int, writes: Sequence[Write]) -> None:
    for write in writes:
        _require(memory, pid, write.address, write.new)


def _require(memory: ProcessMemory, pid: int, address: int, content: bytes) -> None:
    if len(content) > _PIECE and memory.holds(address, content):
        return
    found = memory.read(address, len(content))
    if found == content:
        return
    for at in range(0, len(content), _PIECE):
        expected, there = content[at : at + _PIECE], found[at : at + _PIECE]
        if expected != there:
            same = next(i for i, byte in enumerate(expected) if byte != there[i])
            raise CommitConflict(pid, address + at + same, expected[same:], there[same:])


def _take_back(
    memory: ProcessMemory, pid: int, written: Sequence[Write], error: BaseException
) -> None:
    try:
        for write in reversed(written):
            memory.write(write.address, write.old)
    except MemoryUnreachable as second:
        raise CommitUndoFailed(pid, second.address) from error


def write_all(memory: ProcessMemory, writes: Sequence[Write]) -> None:
    """Write what nobody has to stand still for."""
    for write in writes:
        memory.write(write.address, write.new)
