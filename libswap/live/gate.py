"""Gates at the entries of a library: one word decides whether its functions or others run.

A library's functions cannot all change at one instant, and libswap may be killed between any two
writes. So every entry first gets a jump to a stub that asks one word. While the word is 0 the stub
runs the function's own first instructions, kept elsewhere, and goes on behind the jump: nothing has
changed. One write of that word moves all functions at once. Then each entry can be made to jump
straight to its new function, one by one, which changes nothing any more.

    entry:  jmp stub                     later: jmp new function
    stub:   cmp dword [word], 0
            je  first                    first: (the first instructions of the function)
            jmp [target]                        jmp entry + their length
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from libswap.errors.base import MissingTool
from libswap.live.entries import JUMP_SIZE
from libswap.live.library import Library
from libswap.live.mapped import whole_pages
from libswap.live.redirect import Redirect

if TYPE_CHECKING:
    from iced_x86 import Instruction

_HEAD: Final = 64
WORD: Final = 4
"""Bytes of the word that decides."""
_PAGE: Final = 4096
_STUB: Final = 32
_FAR_PART: Final = 13
"""Where in a stub the jump to the new function begins."""
_TARGET: Final = 24
"""Where in a stub the new function's address lies: aligned, so that it changes as a whole."""
_JUMP_BACK: Final = 14
_ALIGNMENT: Final = 16
_REACH: Final = 1 << 31
_REACH_OF_TARGETS = _REACH
"""How far away a new function may be to be jumped to from the entry itself; tests make it less."""
_ANYWHERE: Final = 1 << 30


class Unmovable(Exception):
    """A function's first instructions cannot run elsewhere; the text says why."""


class Gate(NamedTuple):
    """One entry of a library that is loaded. Absolute addresses.

    Attributes:
        original: the bytes that the file has there.
        first: where those instructions run meanwhile.
        stub: where the choice is made.
    """

    entry: int
    original: bytes
    first: int
    stub: int

    @property
    def closed(self) -> bytes:
        """The jump to the stub."""
        return jump(self.entry, self.stub)

    @property
    def target(self) -> int:
        """Where the address that the stub leads to lies."""
        return self.stub + _TARGET

    def open(self, target: int) -> bytes:
        """The jump straight to a target, or through the stub where that is too far away."""
        if abs(target - self.entry - JUMP_SIZE) < _REACH_OF_TARGETS:
            return jump(self.entry, target)
        return jump(self.entry, self.stub + _FAR_PART)


@dataclass(frozen=True, slots=True)
class Area:
    """Executable memory near a library that holds its stubs.

    Attributes:
        address: where it begins.
        contents: everything; empty where it is in the process already.
        gates: by entry.
        word: address of the deciding word: 0 for the library's own functions, else the others.
    """

    address: int
    contents: bytes
    gates: Mapping[int, Gate]
    word: int


def jump(place: int, target: int) -> bytes:
    """`jmp rel32` at `place`.

    Raises:
        OverflowError: the target is further away than 2 GiB.
    """
    distance = target - place - JUMP_SIZE
    if not -_REACH <= distance < _REACH:
        raise OverflowError(f"a jump from {place:#x} to {target:#x}")
    return b"\xe9" + struct.pack("<i", distance)


def room(redirects: Sequence[Redirect]) -> int:
    """Bytes that suffice for the area of these redirects."""
    moved = sum(2 * r.size + 96 if r.whole else 160 for r in redirects)
    return _HEAD + _STUB * len(redirects) + moved


class Room(NamedTuple):
    """Where the gates of a library are to be made; both 0 where it keeps those that it has.

    Attributes:
        area: address of the memory for them, within 2 GiB of the library.
        word: address of the word that they ask, within 2 GiB too.
    """

    area: int = 0
    word: int = 0


class Layout(NamedTuple):
    """Where the areas of several libraries lie in one piece of memory, as offsets.

    The words lie side by side, so that one write turns all of them. An area has pages of its own,
    so that it can be given back alone.
    """

    size: int
    areas: tuple[int, ...]
    words: tuple[int, ...]


def layout(sizes: Sequence[int]) -> Layout:
    """Lay areas of these sizes out; one that is alone begins with its word."""
    if len(sizes) == 1:
        return Layout(whole_pages(sizes[0]), (0,), (0,))
    starts = [_PAGE]
    for size in sizes:
        starts.append(starts[-1] + whole_pages(size))
    assert len(sizes) * WORD <= _PAGE  # noqa: S101  whoever asks has seen to it
    return Layout(starts[-1], tuple(starts[:-1]), tuple(WORD * i for i in range(len(sizes))))


def build(
    library: Library, base: int, redirects: Sequence[Redirect], targets: Mapping[int, int],
    room: Room,
) -> Area:  # fmt: skip
    """Make the contents of an area.

    Args:
        library: whose entries get gates.
        base: its load base.
        redirects: the entries.
        targets: for each entry, absolute, the address to lead to.
        room: where they will be.

    Raises:
        MissingTool: iced-x86 is not installed.
    """
    contents = bytearray(_HEAD)
    gates: dict[int, Gate] = {}
    firsts = room.area + _HEAD + _STUB * len(redirects)
    moved = bytearray()
    for redirect in redirects:
        stub, first = room.area + len(contents), firsts + len(moved)
        entry = base + redirect.old
        code = _moved(library, redirect, entry, first)
        contents += _stub(stub, room.word, first, targets[entry])
        moved += code + b"\xcc" * (-len(code) % _ALIGNMENT)
        gates[entry] = Gate(entry, _code(library, redirect.old, JUMP_SIZE), first, stub)
    return Area(room.area, bytes(contents + moved), gates, room.word)


def unmovable(library: Library, redirects: Sequence[Redirect]) -> dict[int, str]:
    """Entries that cannot have a gate, with the reason.

    Raises:
        MissingTool: iced-x86 is not installed.
    """
    reasons = {}
    for redirect in redirects:
        try:
            _moved(library, redirect, _ANYWHERE + redirect.old, 2 * _ANYWHERE)
        except Unmovable as why:
            reasons[redirect.old] = str(why)
    return reasons


def _stub(stub: int, word: int, first: int, target: int) -> bytes:
    ask = b"\x83\x3d" + struct.pack("<ib", word - (stub + 7), 0)
    own = b"\x0f\x84" + struct.pack("<i", first - (stub + 13))
    other = b"\xff\x25" + struct.pack("<i", _TARGET - _FAR_PART - 6)
    return (ask + own + other).ljust(_TARGET, b"\xcc") + struct.pack("<Q", target)


def _moved(library: Library, redirect: Redirect, entry: int, first: int) -> bytes:
    """The instructions that the jump at the entry overwrites, fit to run at `first`."""
    try:
        import iced_x86 as iced  # noqa: PLC0415  an optional package, and slow to import
    except ImportError:
        raise MissingTool(
            "iced-x86", "move instructions out of the way", "pip install 'libswap[live]'"
        ) from None
    length = redirect.size if redirect.whole else max(JUMP_SIZE + 15, 1)
    decoder = iced.Decoder(64, _code(library, redirect.old, length), ip=entry)
    taken: list[Instruction] = []
    covered = 0
    for instruction in decoder:
        if instruction.is_invalid:
            raise Unmovable("its code cannot be decoded")
        taken.append(instruction)
        covered += instruction.len
        if not redirect.whole and covered >= min(JUMP_SIZE, redirect.size):
            break
    if covered < min(JUMP_SIZE, redirect.size):
        raise Unmovable("its first instructions are not whole")
    if redirect.whole and any(i.flow_control == iced.FlowControl.INDIRECT_BRANCH for i in taken):
        raise Unmovable("it jumps to its own first bytes and through a table")
    encoder = iced.BlockEncoder(64)
    encoder.add_many(taken)
    try:
        code: bytes = encoder.encode(first)
    except ValueError as error:
        raise Unmovable(f"its first instructions cannot be moved: {error}") from None
    return code + jump(first + len(code), entry + covered)


def _code(library: Library, vaddr: int, size: int) -> bytes:
    for start, text in library.texts:
        if start <= vaddr < start + len(text):
            return text[vaddr - start : vaddr - start + size]
    raise Unmovable("it does not lie in the code")
