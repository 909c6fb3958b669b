"""The scratch memory in a target: where its parts lie, and how a program is laid into it."""

from dataclasses import dataclass
from typing import Final

from libswap.live.arch import x86_64_code as code
from libswap.live.calls import Buffer, Program, Result, SystemCall

GUARD: Final = 4096
_EPILOGUE_ROOM: Final = 0x200


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes, in whole pages: a guard page, a stack, the data of the stub, then its code.

    Code and data share no page. Nothing of it is ever writable and executable.
    """

    stack: int = 256 << 10
    data: int = 128 << 10
    code: int = 64 << 10

    @property
    def writable(self) -> int:
        """Stack and data together."""
        return self.stack + self.data


@dataclass(frozen=True, slots=True)
class Scratch:
    """One scratch memory.

    Attributes:
        start: where it lies.
        layout: its sizes.
        blob: offset in the data at which a program's own strings and buffers begin.
    """

    start: int
    layout: Layout
    blob: int

    @property
    def stack_top(self) -> int:
        """A multiple of 16, as the ABI wants before a call."""
        return self.start + GUARD + self.layout.stack

    @property
    def frame(self) -> int:
        """See `x86_64_code.frame`."""
        return self.stack_top

    @property
    def epilogue(self) -> int:
        """Where the code begins."""
        return self.frame + self.layout.data

    @property
    def program(self) -> int:
        """Where the calls are."""
        return self.epilogue + _EPILOGUE_ROOM

    @property
    def size(self) -> int:
        """Of all of it."""
        return GUARD + self.layout.writable + self.layout.code


@dataclass(frozen=True, slots=True)
class Placed:
    """A program as bytes.

    Attributes:
        text: the code.
        blob: strings and zeroed buffers.
        buffers: offset in `blob` and size of each buffer.
    """

    text: bytes
    blob: bytes
    buffers: tuple[tuple[int, int], ...]


def place(program: Program, scratch: Scratch, errno_location: int) -> Placed:
    """Make the bytes of a program for this place."""
    blob = bytearray()
    buffers: list[tuple[int, int]] = []
    steps = [
        code.Step(
            call.number if isinstance(call, SystemCall) else call.function,
            isinstance(call, SystemCall),
            tuple(_word(a, scratch.frame + scratch.blob, blob, buffers) for a in call.arguments),
            call.given.index if call.given else None,
            call.unless.index if call.unless else None,
        )
        for call in program
    ]
    text = code.program(scratch.program, scratch.frame, scratch.epilogue, steps, errno_location)
    fits = (
        len(program) <= code.MOST_CALLS
        and len(text) <= scratch.layout.code - _EPILOGUE_ROOM
        and scratch.blob + len(blob) <= scratch.layout.data
    )
    if not fits:
        raise AssertionError("the program is too long for its scratch memory")
    return Placed(text, bytes(blob), tuple(buffers))


def _word(
    argument: int | bytes | Result | Buffer,
    base: int,
    blob: bytearray,
    buffers: list[tuple[int, int]],
) -> int | code.Slot:
    match argument:
        case int():
            return argument & (1 << 64) - 1
        case Result(index=index):
            return code.Slot(index)
        case bytes():
            content = argument + b"\0"
        case Buffer(size=size):
            buffers.append((len(blob), size))
            content = bytes(size)
    at = len(blob)
    blob += content + bytes(-len(content) % 16)
    return base + at
