"""Which functions of the old library lead to the new one from their first instruction on.

Slots and the symbol table reach who asks the dynamic linker. A pointer that was saved before, a
method table, or a call inside the old library reaches only a redirected entry.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from libswap.elf.dynamic import Tag
from libswap.elf.format import SegmentFlags
from libswap.elf.relocations import X86_64
from libswap.elf.symbols import SymbolType
from libswap.linux.memory import Range
from libswap.live.entries import JUMP_SIZE, Entries
from libswap.live.findings import Finding, note, risk
from libswap.live.library import Library
from libswap.live.pairing import Pairing
from libswap.live.reliance import Inside, Reliance

_PAGE: Final = 4096
_SHOWN: Final = 6
_OF_THE_TOOLCHAIN: Final = frozenset({
    "_init", "_fini", "frame_dummy", "register_tm_clones", "deregister_tm_clones",
    "__do_global_dtors_aux", "__do_global_ctors_aux",
})  # fmt: skip
_ARRAYS: Final = ((Tag.INIT_ARRAY, Tag.INIT_ARRAYSZ), (Tag.FINI_ARRAY, Tag.FINI_ARRAYSZ))


class Redirect(NamedTuple):
    """One entry. Virtual addresses in each file's terms.

    Attributes:
        size: bytes that belong to the function and the padding behind it.
        whole: whether it must be moved as a whole to be reachable again: it branches to its own
            first bytes.
    """

    name: str
    old: int
    new: int
    size: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Redirects:
    """What the files tell.

    Attributes:
        redirects: by ascending address.
        kept: entries of old code that can still be reached afterwards, with what to call them.
        unsafe: functions that must not be running even when running calls may finish.
        findings: what stands in the way.
    """

    redirects: tuple[Redirect, ...]
    kept: tuple[tuple[int, str], ...]
    unsafe: tuple[Range, ...]
    findings: tuple[Finding, ...]


def redirects(old: Library, pairing: Pairing, entries: Entries, new: Entries) -> Redirects:
    """Choose the entries to redirect."""
    bystanders = start_and_end_code(old) | _resolvers(old)
    exported = {s.value for s in old.exported.values() if s.is_function}
    wanted = [
        at for at in sorted(pairing.functions)
        if at not in bystanders and (at in exported or entries.address_taken(at))
    ]  # fmt: skip
    found, findings = _fit(old, pairing, entries, wanted)
    redirected = {r.old for r in found}
    kept = _still_reachable(old, entries, redirected, bystanders)
    findings += _internal_callers(pairing, Reliance(Inside(entries), Inside(new), kept), redirected)
    return Redirects(
        redirects=tuple(found),
        kept=tuple((at, pairing.labels.get(at, f"unnamed function at {at:#x}"))
                   for at in sorted(kept)),
        unsafe=tuple(_unsafe_while_running(entries, found)),
        findings=tuple(findings),
    )  # fmt: skip


def code_ranges(library: Library) -> tuple[Range, ...]:
    """The executable segments, as virtual addresses."""
    return tuple(
        Range(s.vaddr, s.vaddr + s.memsz) for s in library.image.loads if s.flags & SegmentFlags.X
    )


def start_and_end_code(library: Library) -> frozenset[int]:
    """Functions that only the dynamic linker calls: each copy runs its own, on its own data."""
    dynamic = library.dynamic
    found = {dynamic.value(Tag.INIT) or 0, dynamic.value(Tag.FINI) or 0}
    for start_tag, size_tag in _ARRAYS:
        start, size = dynamic.value(start_tag), dynamic.value(size_tag) or 0
        if start is not None:
            found |= set(_array(library, start, size))
    found |= {s.value for n, s in library.internal.items() if n.name in _OF_THE_TOOLCHAIN}
    return frozenset(found)


def _resolvers(library: Library) -> frozenset[int]:
    """Each copy asks its own: what they choose is asked for, and the symbol table leads there."""
    return frozenset(s.value for s in library.exported.values() if s.type == SymbolType.GNU_IFUNC)


def _array(library: Library, start: int, size: int) -> Iterator[int]:
    for relocation in library.relocations:
        if relocation.type == X86_64.RELATIVE and start <= relocation.offset < start + size:
            if relocation.addend:
                yield relocation.addend
            else:
                data = library.image.at_vaddr(relocation.offset, 8, "an array of functions")
                yield struct.unpack("<Q", data)[0]


def _fit(
    old: Library, pairing: Pairing, entries: Entries, wanted: list[int]
) -> tuple[list[Redirect], list[Finding]]:
    sizes = {s.value: s.size for s in reversed(old.functions.values())}
    found: list[Redirect] = []
    findings: list[Finding] = []
    for at in wanted:
        name, size = pairing.labels[at], sizes.get(at, 0)
        room = entries.room(at, size) if size else entries.gap(at)
        whole = entries.jumps_into(at, size or room)
        if at // _PAGE != (at + JUMP_SIZE - 1) // _PAGE:
            detail = f"its first {JUMP_SIZE} bytes cross a page, so that they cannot change at once"
            findings.append(risk("entry-crosses-page", name, detail))
        elif room >= JUMP_SIZE:
            found.append(Redirect(name, at, pairing.functions[at], size or room, whole))
        else:
            findings.append(_short(name, entries.bytes_at(at, size), size))
    overlapping = {
        b.old for a, b in pairwise(found) if b.old < a.old + JUMP_SIZE
    }  # two names for parts of one function
    findings += [
        risk("entry-overlaps", r.name, "another function's first bytes lie in its own")
        for r in found
        if r.old in overlapping
    ]
    return [r for r in found if r.old not in overlapping], findings


def _short(name: str, code: bytes, size: int) -> Finding:
    """Four bytes hold no reference to data; only a short branch could lead out of them."""
    detail = f"{size} bytes long with other code right behind it: no room for a jump"
    if any(0x70 <= b <= 0x7F or b in (0xEB, 0xE0, 0xE1, 0xE2, 0xE3) for b in code):
        return risk("entry-too-short", name, detail)
    return note("entry-too-short", name, f"{detail}; a pointer saved before runs the old one")


def _still_reachable(
    old: Library, entries: Entries, redirected: set[int], bystanders: frozenset[int]
) -> set[int]:
    """Old functions that run again although every known entry leads to the new library.

    They begin with those whose address somebody may have kept, and go on with what these call.
    """
    exported = {s.value for s in old.exported.values() if s.type == SymbolType.FUNC}
    roots = {at for at in entries.starts if entries.address_taken(at)} | exported
    found: set[int] = set()
    todo = [at for at in roots if at not in redirected and at not in bystanders]
    calls = entries.calls
    while todo:
        at = todo.pop()
        if at not in found:
            found.add(at)
            todo += [t for t in calls.get(at, ()) if t not in redirected and t not in found]
    return found


def _internal_callers(pairing: Pairing, reliance: Reliance, redirected: set[int]) -> list[Finding]:
    """Old code that goes on must not call new code directly.

    With -fipa-ra (on at gcc -O2) a caller in the same file keeps values in registers that it knows
    this very function to leave alone; another function in its place need not. Where the new one
    leaves them alone too, or no code behind such a call reads them, nothing is lost.
    """
    names = sorted(
        pairing.labels.get(callee, hex(callee))
        for callee in redirected
        if reliance.on(callee, pairing.functions[callee])
    )
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN
                                         else "")  # fmt: skip
    detail = (
        "old code that has no name, and that a saved pointer may still reach, calls it directly:"
        " the compiler may have relied on the registers that exactly the old one leaves alone"
    )
    return [risk("internal-caller", shown, detail, "install the library's debug symbols (-dbgsym)")]


def _unsafe_while_running(entries: Entries, found: list[Redirect]) -> Iterator[Range]:
    """Functions that a redirect would surprise in the middle: see `_internal_callers`."""
    redirected = {r.old for r in found}
    for redirect in found:
        if redirect.whole:
            yield Range(redirect.old, redirect.old + redirect.size)
        else:
            yield Range(redirect.old, redirect.old + JUMP_SIZE)
    for caller, callees in entries.calls.items():
        if callees & redirected:
            yield Range(caller, caller + entries.gap(caller))
