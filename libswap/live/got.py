"""The words of a loaded module that the dynamic linker filled in with addresses of another one.

Sources: psABI x86-64 sections 4.4 and 5.2. What counts is the value that a word has now: a slot
that an interposed definition won, or that lazy binding has not filled yet, points elsewhere.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.elf.relocations import X86_64
from libswap.linux.memory import Memory, Range
from libswap.live.module import Module

_KINDS: Final = {X86_64.JUMP_SLOT, X86_64.GLOB_DAT, X86_64.ADDR64}
_NEAR: Final = 4096
"""Places closer together than this are read in one piece."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One word that points into a library of interest.

    Attributes:
        module: path of the module that the word belongs to.
        place: its address.
        value: what it holds now.
        name: the symbol that it was bound for, "" where the relocation names none.
        version: the version that was asked for.
        addend: what the relocation adds to the symbol's address.
    """

    module: str
    place: int
    value: int
    name: str
    version: str
    addend: int


def slots(memory: Memory, module: Module, targets: Sequence[Range]) -> tuple[Slot, ...]:
    """The slots of a module whose present value lies in one of `targets`.

    Raises:
        MemoryUnreachable: the module is not mapped as its file says.
    """
    library = module.facts
    wanted = [
        r for r in library.relocations
        if r.type in _KINDS and r.symbol and r.symbol < len(library.symbols)
    ]  # fmt: skip
    wanted.sort()
    found = []
    values = read_words(memory, [module.base + r.offset for r in wanted])
    for relocation, value in zip(wanted, values, strict=True):
        if any(t.start <= value < t.end for t in targets):
            symbol = library.symbols[relocation.symbol]
            place = module.base + relocation.offset
            addend = relocation.addend if relocation.type == X86_64.ADDR64 else 0
            found.append(Slot(module.path, place, value, symbol.name, symbol.version, addend))
    return tuple(found)


def copied_objects(module: Module) -> dict[str, Range]:
    """Data that this program took into its own memory by copy relocation, by name, where it is."""
    library, found = module.facts, {}
    for relocation in library.relocations:
        if relocation.type == X86_64.COPY and relocation.symbol < len(library.symbols):
            symbol, at = library.symbols[relocation.symbol], module.base + relocation.offset
            found[symbol.name] = Range(at, at + symbol.size)
    return found


def read_words(memory: Memory, places: Collection[int]) -> list[int]:
    """The 8-byte words at ascending addresses, read in as few pieces as is sensible."""
    words: list[int] = []
    for group in _groups(places):
        data = memory.read(group[0], group[-1] + 8 - group[0])
        words += [struct.unpack_from("<Q", data, at - group[0])[0] for at in group]
    return words


def _groups(places: Collection[int]) -> Iterator[list[int]]:
    group: list[int] = []
    for place in places:
        if group and place - group[-1] > _NEAR:
            yield group
            group = []
        group.append(place)
    if group:
        yield group
