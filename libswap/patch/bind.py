"""The last step of linking, when the addresses of a process are known: pure, and checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from libswap.elf.instructions import relocated_beginning
from libswap.errors.patch import PatchUnlinkable
from libswap.patch.patch import ORIGINAL_ROOM, Fixup, Patch, Protection


@dataclass(frozen=True, slots=True)
class BoundRegion:
    """Bytes for the target's memory.

    Attributes:
        address: where, a multiple of the page size.
        size: in bytes; what `data` leaves out is zero.
    """

    protection: Protection
    address: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A function at its present place in a process.

    Attributes:
        address: of the function.
        code: its present bytes, all of the function where an original is wanted.
    """

    address: int
    code: bytes


def bind(
    patch: Patch, memory: int, values: Sequence[int], entries: Sequence[Entry]
) -> tuple[BoundRegion, ...]:
    """The bytes of a patch for one process.

    Args:
        patch: the patch.
        memory: where its memory begins in the process.
        values: what each of the patch's references is there, as a number; a negative one for
            `TlsBlock`.
        entries: the functions that it replaces, in the patch's order.

    Raises:
        PatchUnlinkable: a value does not fit its place, or an original cannot be moved.
    """
    if memory % 4096 or len(values) != len(patch.references):
        raise AssertionError("a page's start, and a value for each reference")
    image = bytearray(patch.size)
    for region in patch.regions:
        image[region.offset : region.offset + len(region.data)] = region.data
    problems = [p for f in patch.fixups if (p := _fix(image, f, memory, values[f.reference]))]
    for original in patch.originals:
        entry = entries[original.replaced]
        place = memory + original.offset
        moved = relocated_beginning(entry.code, entry.address, place)
        if moved is None or len(moved) > ORIGINAL_ROOM:
            name = patch.replaced[original.replaced].label
            problems.append(f"the first instructions of {name} cannot be moved")
        else:
            image[original.offset : original.offset + len(moved)] = moved
    if problems:
        raise PatchUnlinkable(tuple(problems))
    return tuple(
        BoundRegion(
            r.protection, memory + r.offset, r.size, bytes(image[r.offset : r.offset + r.size])
        )
        for r in patch.regions
    )


def _fix(image: bytearray, fixup: Fixup, memory: int, value: int) -> str:
    """Fill in one place; what is wrong, or nothing."""
    number = value + fixup.addend
    if fixup.field.relative:
        number -= memory + fixup.place
    if not fixup.field.holds(number):
        return (
            f"{fixup.field.value} at {fixup.place:#x} cannot hold {number:#x};"
            f" the patch lies at {memory:#x}"
        )
    size = fixup.field.size
    image[fixup.place : fixup.place + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
    return ""
