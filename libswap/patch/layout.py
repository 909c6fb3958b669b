"""Where the sections of the objects come to lie in the patch's memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from libswap.elf.format import SectionType
from libswap.elf.relocatable import ObjectSection, Relocatable, SectionFlags
from libswap.elf.symbols import SHN_COMMON, Binding, Symbol
from libswap.errors.patch import PatchUnlinkable
from libswap.patch.patch import Protection

PAGE: Final = 4096
UNWIND: Final = ".eh_frame"
MAX_SIZE: Final = 1 << 29
"""Bytes of a patch's memory; well below the 2 GiB that its code must reach across."""
_CONSTANT: Final = (
    ".data.rel.ro", ".init_array",
    ".data.rel.local.DW.ref.", ".data.DW.ref.",
)  # fmt: skip
"""Sections that only a linker writes to; DW.ref is what gcc's and clang's unwind tables ask for."""


class SectionKey(NamedTuple):
    """One section of one object."""

    object: int
    section: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """The sections that take part, in the order of each region.

    Attributes:
        regions: protection -> (object, section), .eh_frame left out, .bss last.
        unwind: the .eh_frame sections.
        constructors: .init_array sections in the order in which they run.
        common: (size, alignment) by name of tentative definitions.
    """

    regions: dict[Protection, tuple[tuple[SectionKey, ObjectSection], ...]]
    unwind: tuple[tuple[SectionKey, ObjectSection], ...]
    constructors: tuple[tuple[SectionKey, ObjectSection], ...]
    common: dict[str, tuple[int, int]]


def choose(objects: Sequence[Relocatable]) -> Chosen:
    """Sort the sections into regions; of equal COMDAT groups the first one counts.

    Raises:
        PatchUnlinkable: a section asks for what a patch cannot give.
    """
    sections = list(_without_copies(objects))
    problems = [p for key, s in sections for p in _problems(objects[key.object], s)]
    if problems:
        raise PatchUnlinkable(tuple(problems))
    unwind = [(k, s) for k, s in sections if s.name == UNWIND]
    rest = [(k, s) for k, s in sections if s.name != UNWIND]
    arrays = [(k, s) for k, s in rest if s.type == SectionType.INIT_ARRAY]
    return Chosen(
        {
            protection: tuple(
                sorted(
                    ((k, s) for k, s in rest if _protection(s) == protection),
                    key=lambda item: item[1].type == SectionType.NOBITS,
                )
            )
            for protection in Protection
        },
        tuple(unwind),
        tuple(sorted(arrays, key=lambda item: _priority(item[1].name))),
        _common(s for o in objects for s in o.symbols),
    )


def place(
    sections: Iterable[tuple[SectionKey, ObjectSection]], start: int
) -> tuple[dict[SectionKey, int], int]:
    """Lay sections one behind the other.

    Returns:
        Each one's offset in the patch's memory, and the offset behind the last.
    """
    found = {}
    at = start
    for key, section in sections:
        at = aligned(at, section.align)
        found[key] = at
        at += section.size
        if at > MAX_SIZE:
            raise PatchUnlinkable((f"it has more than {MAX_SIZE >> 20} MiB of code and data",))
    return found, at


def aligned(value: int, alignment: int) -> int:
    """`value` rounded up to a multiple of a power of two."""
    return (value + alignment - 1) & -alignment


def _without_copies(
    objects: Sequence[Relocatable],
) -> Iterator[tuple[SectionKey, ObjectSection]]:
    owner: dict[str, int] = {}
    for number, one in enumerate(objects):
        for section in one.sections.values():
            kept = not section.group or owner.setdefault(section.group, number) == number
            if kept and section.type != SectionType.NOTE:
                yield SectionKey(number, section.index), section


def _problems(one: Relocatable, section: ObjectSection) -> Iterator[str]:
    where = f"{one.name}: section {section.name}"
    executable = section.flags & SectionFlags.EXECINSTR
    if executable and section.flags & SectionFlags.WRITE:
        yield f"{where} is writable and executable, which a patch never maps"
    if section.flags & SectionFlags.TLS and section.size:
        yield (
            f"{where} holds new thread-local variables, for which running threads have no room;"
            " use the target's, pthread_getspecific(3), or compile with -femulated-tls"
        )
    if section.type in (SectionType.FINI_ARRAY, SectionType.PREINIT_ARRAY) or (
        section.name.startswith((".ctors", ".dtors")) and section.size
    ):
        yield f"{where}: only constructors in .init_array are run; use libswap_pre_revert"


def _protection(section: ObjectSection) -> Protection:
    if section.flags & SectionFlags.EXECINSTR:
        return Protection.CODE
    if section.flags & SectionFlags.WRITE and not section.name.startswith(_CONSTANT):
        return Protection.DATA
    return Protection.CONSTANTS


def _priority(name: str) -> int:
    """.init_array.NNNNN runs by number, plain .init_array last."""
    number = name.removeprefix(".init_array").lstrip(".")
    return int(number) if number.isascii() and number.isdigit() and len(number) < 9 else 1 << 30


def _common(symbols: Iterable[Symbol]) -> dict[str, tuple[int, int]]:
    """st_value of a COMMON symbol is its alignment; the largest of each name is taken."""
    found: dict[str, tuple[int, int]] = {}
    for symbol in symbols:
        if symbol.section == SHN_COMMON and symbol.binding != Binding.LOCAL:
            size, align = found.get(symbol.name, (0, 1))
            found[symbol.name] = (max(size, symbol.size), max(align, symbol.value))
    if any(size > MAX_SIZE or a & (a - 1) or a > PAGE for size, a in found.values()):
        raise PatchUnlinkable(("a tentative definition has an impossible size or alignment",))
    return found
