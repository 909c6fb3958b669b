"""x86-64 machine code, decoded: where instructions begin, where they jump, how they move.

Source: Intel SDM volume 2; decoding and encoding are iced-x86's.
"""

import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from libswap.errors.base import MissingTool

if TYPE_CHECKING:
    from types import ModuleType

    from iced_x86 import Instruction

JUMP_SIZE: Final = 5
"""jmp rel32."""
_LONGEST: Final = 15
_MAX_DISTANCE: Final = 1 << 31
_BRANCH: Final = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]")
_DISTANCE: Final = struct.Struct("<i")


def decoder() -> "ModuleType":
    """The iced-x86 module.

    Raises:
        MissingTool: it is not installed.
    """
    try:
        import iced_x86  # noqa: PLC0415  an optional package, and slow to import
    except ImportError:
        purpose = "decode the instructions of the functions that are replaced"
        raise MissingTool("iced-x86", purpose, "pip install 'libswap[live]'") from None
    return iced_x86


def instructions(code: bytes, address: int) -> Iterator["Instruction"]:
    """The instructions of a piece of code up to the first that is none."""
    for instruction in decoder().Decoder(64, code, ip=address):
        if instruction.is_invalid:
            return
        yield instruction


def beginning(code: bytes, address: int, size: int = JUMP_SIZE) -> list["Instruction"] | None:
    """The whole instructions that cover the first bytes of a function, None where they do not."""
    found = []
    covered = 0
    for instruction in instructions(code[: size + _LONGEST], address):
        if covered >= size:
            break
        found.append(instruction)
        covered += instruction.len
    return found if covered >= size else None


def branches(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """(place, target) of the near branches in a function that is decoded from its start."""
    iced = decoder()
    kinds = (iced.FlowControl.UNCONDITIONAL_BRANCH, iced.FlowControl.CONDITIONAL_BRANCH)
    for instruction in instructions(code, address):
        near = instruction.op_count and instruction.op0_kind == iced.OpKind.NEAR_BRANCH64
        if instruction.flow_control in kinds and near:
            yield instruction.ip, instruction.near_branch_target


def jumps_into_beginning(code: bytes, address: int, size: int = JUMP_SIZE) -> bool:
    """Whether a function jumps to where a redirect leaves no instruction of its own."""
    return any(address < target < address + size for _, target in branches(code, address))


def padding(code: bytes, address: int) -> int:
    """How many bytes at the front of `code` only fill up: nop of any length, int3."""
    iced = decoder()
    filled = 0
    for instruction in instructions(code, address):
        if instruction.mnemonic not in (iced.Mnemonic.NOP, iced.Mnemonic.INT3):
            break
        filled += instruction.len
    return filled


def relocated_beginning(code: bytes, address: int, place: int) -> bytes | None:
    """A copy of a function's first instructions that runs at `place` and goes on in the function.

    Args:
        code: the function, all of it: what it jumps to is looked at.
        address: where it lies.
        place: where the copy will lie, in reach of a 32-bit displacement.

    Returns:
        The copy; None where an instruction cannot be moved, or the function jumps back into them.
    """
    taken = beginning(code, address)
    if taken is None:
        return None
    end = taken[-1].next_ip
    if jumps_into_beginning(code, address, end - address):
        return None
    encoder = decoder().BlockEncoder(64)
    encoder.add_many(taken)
    try:
        moved: bytes = encoder.encode(place)
    except ValueError:
        return None
    distance = end - (place + len(moved) + JUMP_SIZE)
    if not -_MAX_DISTANCE <= distance < _MAX_DISTANCE:
        return None
    return moved + b"\xe9" + distance.to_bytes(4, "little", signed=True)


def branches_and_calls(text: bytes, vaddr: int) -> Iterator[tuple[int, int]]:
    """(place, target) of everything that looks like a near call or jump with 32 bits.

    It is looked for at every byte: data in the text or a wrong start of decoding cannot hide one,
    and a chance match only makes whoever asks more careful.
    """
    unpack = _DISTANCE.unpack_from
    for match in _BRANCH.finditer(text, 0, max(len(text) - 4, 0)):
        end = match.end()
        if end + 4 <= len(text):
            yield vaddr + match.start(), vaddr + end + 4 + unpack(text, end)[0]
