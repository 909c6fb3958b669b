"""Change the entries of several functions as if at one instant: which bytes, in which commits.

A single entry is one write of five bytes. For more, each entry first gets a jump to a gate, which
asks a word: 0 goes on as before, else it goes where the entry will lead. One write of that word
moves all of them; then, in a commit of its own, each entry gets its final bytes. Killed between any
two writes, the process runs either all of the old functions or all of the new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.instructions import JUMP_SIZE, relocated_beginning
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.gate import jump
from libswap.live.patches import ChangeRecord, PatchRecord, SwitchRecord
from libswap.live.quiescence import Forbidden
from libswap.live.writing import Phase, Write

_HEAD: Final = 64
_MOVED: Final = 96
_STUB: Final = 32
_ONE: Final = _STUB + 2 * _MOVED
_WORD_OFF: Final = bytes(4)
_WORD_ON: Final = b"\1\0\0\0"


@dataclass(frozen=True, slots=True)
class Change:
    """An entry and what becomes of it.

    Attributes:
        entry: address of the function.
        now: its first bytes, `JUMP_SIZE` of them.
        after: what they become.
        code: the whole function as it is now, for what its first instructions are.
        label: what to call it.
    """

    entry: int
    now: bytes
    after: bytes
    code: bytes
    label: str


@dataclass(frozen=True, slots=True)
class Switch:
    """All of them, prepared.

    Attributes:
        changes: the entries.
        contents: what is written into the room for gates beforehand.
        record: for the process's record while it is under way.
    """

    changes: tuple[Change, ...]
    contents: bytes
    record: SwitchRecord

    def first(self) -> tuple[Phase, ...]:
        """The commit that moves the functions."""
        changes = self.record.changes
        if not self.record.word:
            return (tuple(_write(c.entry, c.now, c.after) for c in changes),)
        gates = tuple(_write(c.entry, c.now, c.gate) for c in changes)
        return (gates, (Write(self.record.word, _WORD_OFF, _WORD_ON),))

    def second(self) -> tuple[Phase, ...]:
        """The commit after which calls go straight; empty where it is not needed."""
        if not self.record.word:
            return ()
        return (tuple(_write(c.entry, c.gate, c.after) for c in self.record.changes),)


def room(entries: int) -> int:
    """Bytes that suffice for the gates of so many entries."""
    return _HEAD + _ONE * entries if entries > 1 else 0


def prepare(changes: Sequence[Change], area: int, done: Sequence[PatchRecord]) -> Switch:
    """Make the bytes of a switch.

    Args:
        changes: the entries.
        area: address of the room for gates, within 2 GiB; 0 for none.
        done: the patches of the process's record when it is done.
    """
    gates, contents = _gates(changes, area) if area and len(changes) > 1 else ([], b"")
    records = tuple(
        ChangeRecord(c.entry, c.now.hex(), gates[i].hex() if gates else "", c.after.hex())
        for i, c in enumerate(changes)
    )
    word = area if gates else 0
    record = SwitchRecord(word, area, len(contents), records, tuple(done))
    return Switch(tuple(changes), contents, record)


def unfinished(memory: ProcessMemory, record: SwitchRecord) -> tuple[tuple[Phase, ...], bool]:
    """What brings a switch that was broken off to an end.

    Returns:
        The writes, and whether they finish it; else they take it back.
    """
    found = {c.entry: memory.read(c.entry, JUMP_SIZE) for c in record.changes}
    if record.word:
        forward = memory.read(record.word, 4) != _WORD_OFF
    else:
        forward = all(found[c.entry].hex() == c.after for c in record.changes)
    writes = []
    for change in record.changes:
        wanted = bytes.fromhex(change.after if forward else change.now)
        if found[change.entry] != wanted:
            writes.append(Write(change.entry, found[change.entry], wanted))
    return ((tuple(writes),) if writes else ()), forward


def gate_area(record: SwitchRecord) -> tuple[Forbidden, ...]:
    """The gates of a switch that was broken off, which a thread may be inside of."""
    if not record.area_size:
        return ()
    return (Forbidden(Range(record.area, record.area + record.area_size), "a gate"),)


def _write(entry: int, old: str, new: str) -> Write:
    return Write(entry, bytes.fromhex(old), bytes.fromhex(new))


def _gates(changes: Sequence[Change], area: int) -> tuple[list[bytes], bytes]:
    """The jumps to the gates and the gates themselves; none where an entry cannot have one."""
    contents = bytearray(_HEAD)
    jumps = []
    for change in changes:
        stub = area + len(contents)
        place = stub + _STUB
        own = relocated_beginning(change.code, change.entry, place)
        lead, other = _lead(change, place + _MOVED)
        if own is None or lead == 0 or max(len(own), len(other)) > _MOVED:
            return [], b""
        jumps.append(jump(change.entry, stub))
        contents += _stub(stub, area, place, lead)
        contents += own.ljust(_MOVED, b"\xcc") + other.ljust(_MOVED, b"\xcc")
    return jumps, bytes(contents)


def _lead(change: Change, place: int) -> tuple[int, bytes]:
    """Where the entry will lead, and the code there if it has to be made; 0 if it cannot be."""
    if change.after[:1] == b"\xe9":
        distance = int.from_bytes(change.after[1:5], "little", signed=True)
        return change.entry + JUMP_SIZE + distance, b""
    then = change.after + change.code[JUMP_SIZE:]
    moved = relocated_beginning(then, change.entry, place)
    return (place, moved) if moved else (0, b"")


def _stub(stub: int, word: int, own: int, lead: int) -> bytes:
    """Cmp dword [word], 0; je own; jmp [lead]."""
    ask = b"\x83\x3d" + (word - stub - 7).to_bytes(4, "little", signed=True) + b"\0"
    back = b"\x0f\x84" + (own - stub - 13).to_bytes(4, "little", signed=True)
    on = b"\xff\x25\0\0\0\0" + lead.to_bytes(8, "little")
    return (ask + back + on).ljust(_STUB, b"\xcc")
