"""Which function and which object of the new library stands for which of the old."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from libswap.elf.nameless import NOTHING, Nameless, Stretch
from libswap.elf.symbols import Binding, Symbol, SymbolType
from libswap.linux.memory import Range
from libswap.live.findings import Finding, note, refuse, risk
from libswap.live.library import Library, Name
from libswap.live.writable import writable_ranges

_NUMBERED: Final = re.compile(r"^(.+)\.\d+$")
"""gcc numbers the static variables of functions in the order in which it meets them."""


@dataclass(frozen=True, slots=True)
class ObjectPair:
    """A data object that both libraries have. Virtual addresses in each file's terms."""

    name: str
    old: int
    new: int
    size: int


@dataclass(frozen=True, slots=True)
class Forward:
    """A dynamic symbol of the old library and what stands for it in the new one.

    Attributes:
        index: in the old dynamic symbol table.
        new: virtual address in the new file's terms.
        ifunc: whether the address is that of a resolver in both.
    """

    index: int
    name: Name
    old: int
    new: int
    ifunc: bool


@dataclass(frozen=True, slots=True)
class Pairing:
    """What the two files say; nothing of a process.

    Attributes:
        functions: entry in the old file -> entry in the new one.
        labels: entry in the old file -> a name to show.
        objects: data that lives in writable memory of both.
        forwards: for the old library's dynamic symbol table.
        gone: exported by the old library and not by the new one.
        unpaired: writable objects of the old library without a counterpart of the same size.
        findings: what the files alone tell.
        nameless: what the code tells of things without names.
        unnamed: entries in the old file of functions that are paired by that.
    """

    functions: Mapping[int, int]
    labels: Mapping[int, str]
    objects: tuple[ObjectPair, ...]
    forwards: tuple[Forward, ...]
    gone: tuple[Name, ...]
    unpaired: tuple[tuple[str, Range], ...]
    findings: tuple[Finding, ...]
    nameless: Nameless = NOTHING
    unnamed: frozenset[int] = frozenset()


def pair(old: Library, new: Library) -> Pairing:
    """Compare two versions of a library."""
    return _paired(old, new, old.nameless(new))


def pair_by_name(old: Library, new: Library) -> Pairing:
    """Likewise without what has no name: reading the code for that takes seconds."""
    return _paired(old, new, NOTHING)


def _paired(old: Library, new: Library, nameless: Nameless) -> Pairing:
    functions, folded = _functions(old, new)
    objects, unpaired, object_findings = _objects(old, new)
    known = {s.value for s in old.exported.values()}, {s.value for s in new.exported.values()}
    more = {
        a: b for a, b in nameless.functions if a not in known[0] and b not in known[1]
    }  # fmt: skip
    return Pairing(
        functions={**more, **functions},
        labels={**{a: f"the function at {a:#x}" for a in more},
                **{s.value: str(n) for n, s in reversed(old.functions.items())}},
        objects=(*objects, *map(_stretch, nameless.stretches)),
        forwards=tuple(_forwards(old, new)),
        gone=tuple(n for n in old.exported if _counterpart(n, new) is None),
        unpaired=unpaired,
        findings=(*folded, *object_findings, *_thread_locals(old, new)),
        nameless=nameless,
        unnamed=frozenset(more.keys() - functions.keys()),
    )  # fmt: skip


def _stretch(found: Stretch) -> ObjectPair:
    return ObjectPair(f"data at {found.old:#x}", found.old, found.new, found.size)


def _counterpart(name: Name, new: Library) -> Symbol | None:
    """By name and version; where one of the files has no versions, by name, as ld.so binds."""
    if name.version:
        return new.exported.get(name) or new.exported.get(Name(name.name, "", ""))
    return new.exported.get(name) or new.only.get(name.name)


def _functions(old: Library, new: Library) -> tuple[dict[int, int], list[Finding]]:
    """Every entry with one meaning; an entry that now has two is a finding."""
    meanings: dict[int, dict[int, Name]] = defaultdict(dict)
    for name, symbol in old.functions.items():
        if symbol.type == SymbolType.GNU_IFUNC:
            continue
        other = (
            new.functions.get(name) or _counterpart(name, new)
            if name in old.exported
            else _unique(new.functions, name)
        )
        if other is not None and other.type == SymbolType.FUNC:
            meanings[symbol.value].setdefault(other.value, name)
    entries = {at: next(iter(found)) for at, found in meanings.items() if len(found) == 1}
    folded = [
        risk(
            "folded",
            ", ".join(map(str, found.values())),
            f"one function at {at:#x} in the old library, {len(found)} in the new:"
            " a saved pointer does not tell which one it means",
        )
        for at, found in meanings.items()
        if len(found) > 1
    ]
    return entries, folded


def _unique(functions: Mapping[Name, Symbol], name: Name) -> Symbol | None:
    """A local function of the same source file, or of the same name where it was moved."""
    found = functions.get(name) or functions.get(Name(name.name, "", ""))
    if found is not None or not name.unit:
        return found
    others = [s for n, s in functions.items() if n.name == name.name and n.unit]
    return others[0] if len(others) == 1 else None


def _forwards(old: Library, new: Library) -> Iterator[Forward]:
    for index, symbol in enumerate(old.symbols):
        name = Name(symbol.name, symbol.version, "")
        if old.exported.get(name) is not symbol or symbol.type == SymbolType.TLS:
            continue
        if symbol.binding == Binding.GNU_UNIQUE:
            continue  # one object for the whole process already: the first, which is the old one
        other = _counterpart(name, new)
        if other is not None and _same_kind(symbol, other):
            ifunc = symbol.type == SymbolType.GNU_IFUNC
            yield Forward(index, name, symbol.value, other.value, ifunc)


def _same_kind(one: Symbol, other: Symbol) -> bool:
    return one.type == other.type


def _objects(
    old: Library, new: Library
) -> tuple[tuple[ObjectPair, ...], tuple[tuple[str, Range], ...], list[Finding]]:
    old_named, new_named = _writable_objects(old), _writable_objects(new)
    moved = _in_another_file(old_named, new_named)
    new_named = {moved.get(n, n): s for n, s in new_named.items()}
    pairs: dict[int, ObjectPair] = {}
    unpaired: list[tuple[str, Range]] = []
    findings: list[Finding] = []
    for name, symbol in old_named.items():
        other = new_named.get(name)
        if other is not None and other.size == symbol.size:
            pairs.setdefault(
                symbol.value, ObjectPair(str(name), symbol.value, other.value, symbol.size)
            )
            continue
        unpaired.append((str(name), Range(symbol.value, symbol.value + symbol.size)))
        if other is not None:
            detail = f"{symbol.size} bytes in the old library, {other.size} in the new"
            findings.append(refuse("state-resized", str(name), detail))
    findings += _appeared(old_named, new_named)
    left = tuple(u for u in unpaired if u[1].start not in pairs)
    return tuple(pairs.values()), left, findings


def _in_another_file(old: Mapping[Name, Symbol], new: Mapping[Name, Symbol]) -> dict[Name, Name]:
    """New name -> old name of static variables whose source file was renamed or split.

    Only where one name is left over on each side: two would be a guess.
    """
    left_old = _by_name(n for n in old if n.unit and n not in new)
    left_new = _by_name(n for n in new if n.unit and n not in old)
    return {
        there[0]: left_old[name][0]
        for name, there in left_new.items()
        if len(there) == len(left_old.get(name, ())) == 1
    }


def _by_name(names: Iterable[Name]) -> dict[str, list[Name]]:
    found: dict[str, list[Name]] = defaultdict(list)
    for name in names:
        found[name.name].append(name)
    return found


def _appeared(old: Mapping[Name, Symbol], new: Mapping[Name, Symbol]) -> list[Finding]:
    names = [str(n) for n in new if n not in old]
    if not names:
        return []
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return [note("state-new", shown, "starts with the value that the new library gives it")]


def _writable_objects(library: Library) -> dict[Name, Symbol]:
    """Objects in memory that code may write, static variables of functions by a lasting name."""
    ranges = writable_ranges(library)
    found = {
        n: s
        for n, s in library.objects.items()
        if s.size
        and s.binding != Binding.GNU_UNIQUE
        and n.name not in _OF_THE_TOOLCHAIN
        and any(r.start <= s.value and s.value + s.size <= r.end for r in ranges)
    }
    plain = Counter((_plain(n), n.unit) for n in found)
    return {
        Name(_plain(n), n.version, n.unit) if plain[_plain(n), n.unit] == 1 else n: s
        for n, s in found.items()
    }


_OF_THE_TOOLCHAIN: Final = frozenset({"completed.0", "__dso_handle", "completed", "dtor_idx.0"})
"""What crtbegin puts into every library: each copy keeps its own."""


def _plain(name: Name) -> str:
    numbered = _NUMBERED.match(name.name)
    return numbered[1] if numbered and name.unit else name.name


def _thread_locals(old: Library, new: Library) -> list[Finding]:
    """A thread's variables stay where they are, so both files must lay them out alike."""
    if old.tls is None and new.tls is None:
        return []
    if old.tls is None:
        return [note("tls-new", "TLS", "each thread starts with the new library's values")]
    if new.tls is None:
        return [risk("tls-gone", "TLS", "the new library has no thread-local variables")]
    layouts = [
        ({n: (s.value, s.size) for n, s in lib.thread_locals.items()}, lib.tls.memsz, lib.tls.align)
        for lib in (old, new)
        if lib.tls is not None
    ]
    if layouts[0] != layouts[1] or not _all_named(old):
        return [
            refuse(
                "tls-layout",
                "TLS",
                "the thread-local variables of the two libraries are not laid out alike, or not"
                " named, and the values of running threads would be lost",
            )
        ]
    return [note("tls-shared", "TLS", "threads keep their variables where they are")]


def _all_named(library: Library) -> bool:
    """Whether named variables cover the TLS block but for alignment."""
    assert library.tls is not None  # noqa: S101  the caller looked
    covered = sum(s.size for s in {s.value: s for s in library.thread_locals.values()}.values())
    return library.tls.memsz - covered < library.tls.align
