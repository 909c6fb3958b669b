"""New libraries that need one another, where the old ones would be found in their place.

The dynamic linker looks for what a library needs (DT_NEEDED) by name among what is loaded, and
finds the old copy first. Where that lacks something, a symbol version above all, the new library
cannot be loaded. So both get a name that nobody else has: a copy in memory of the file that is
needed calls itself (DT_SONAME) by it, and a copy of the file that needs it asks for it (DT_NEEDED
and the version needs). Names keep their length and their place in the string table; nothing else
changes.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.elf.image import Image
from libswap.elf.symbols import Binding
from libswap.elf.versions import version_definitions, version_needs
from libswap.errors.live import NotSwappable
from libswap.live.copies import library_in_use, path_of
from libswap.live.library import Library
from libswap.live.loading import HANDED_OVER
from libswap.live.module import Module
from libswap.live.move import Move
from libswap.live.registry import Record

_LETTERS: Final = digits + ascii_lowercase
_LONGEST: Final = 3


def aliases(moves: Sequence[Move], modules: Sequence[Module], record: Record) -> dict[str, str]:
    """Name -> the name instead, of libraries for which the copies found by name would not do.

    Args:
        moves: the libraries of a swap.
        modules: what is loaded in their namespace.
        record: of the process.
    """
    by_name = {m.facts.dynamic.soname: m for m in reversed(modules) if m.library is not None}
    members = {m.soname: m for m in moves}
    users = [m for m in moves if m.loaded is None]
    found: dict[str, str] = {}
    for name in dict.fromkeys(n for user in users for n in user.library.dynamic.needed):
        first = by_name.get(name)
        if first is None:
            continue
        there = members[name].loaded if name in members else _in_use(first, modules, record)
        wanted = there.facts if there is not None else members[name].library
        if any(lacking(user.library, name, first.facts, wanted) for user in users):
            taken = {*filter(None, by_name), *found.values()}
            found[name] = (
                another(name, taken) if there is None else there.facts.dynamic.soname or ""
            )
    return {name: alias for name, alias in found.items() if _size(alias) == _size(name)}


def require_partners(moves: Sequence[Move], modules: Sequence[Module], record: Record) -> None:
    """Make sure that a copy which was loaded to go with another's new copy is used with that one.

    Raises:
        NotSwappable: it would call a copy that is not in use.
    """
    by_name = {m.facts.dynamic.soname: m for m in reversed(modules) if m.library is not None}
    coming = {m.loaded.base for m in moves if m.loaded is not None}
    for loaded in (m.loaded for m in moves if m.loaded is not None):
        for name in loaded.facts.dynamic.needed:
            there = by_name.get(name)
            if there is None or there.base in coming or not _ours(there):
                continue
            if library_in_use(record, there.base) != there.base:
                raise NotSwappable(
                    "partner-not-in-use",
                    f"the copy of {path_of(record, loaded)} that the process has goes with a copy"
                    f" of {path_of(record, there)} that is not in use",
                    "name both libraries in one command",
                )  # fmt: skip


def _ours(module: Module) -> bool:
    """Whether the process got it in memory."""
    return Path(module.path).name.startswith(f"memfd:{HANDED_OVER}")


def _in_use(first: Module, modules: Sequence[Module], record: Record) -> Module:
    base = library_in_use(record, first.base)
    return next((m for m in modules if m.base == base and m.library is not None), first)


def _size(name: str) -> int:
    """Bytes of a name in a string table."""
    return len(os.fsencode(name))


def another(name: str, taken: Collection[str]) -> str:
    """A name of the same length that ends in the same way."""
    for length in range(1, min(_LONGEST, _size(name)) + 1):
        rest = os.fsdecode(os.fsencode(name)[length:])
        for letters in product(_LETTERS, repeat=length):
            alias = "".join(letters) + rest
            if alias not in taken:
                return alias
    raise AssertionError("more names than modules")


def lacking(user: Library, name: str, old: Library, new: Library) -> tuple[str, ...]:
    """What a library wants of another, needed by `name`, that only the other's new version has."""
    if old is new or name not in user.dynamic.needed:
        return ()
    defined = set(version_definitions(old.image, old.dynamic).values())
    needs = version_needs(user.image, user.dynamic).values()
    versions = [v.name for v in needs if v.library == name and not v.weak] if defined else []
    only_new = {n.name for n in new.exported} - {n.name for n in old.exported}
    symbols = [
        s.name for s in user.symbols
        if not s.defined and s.binding != Binding.WEAK and s.name in only_new
    ]  # fmt: skip
    return (*(v for v in versions if v not in defined), *symbols)


def plain(module: Module, soname: str) -> Library:
    """The facts of a loaded copy under its own name, where it was loaded by another.

    Args:
        module: the copy.
        soname: of the library.
    """
    alias = module.facts.dynamic.soname or ""
    ours, own = os.fsencode(alias), os.fsencode(soname)
    alike = len(ours) == len(own) and ours[_LONGEST:] == own[_LONGEST:]
    return named_back(module.facts, alias, soname) if _ours(module) and alike else module.facts


@lru_cache(maxsize=32)
def named_back(library: Library, alias: str, soname: str) -> Library:
    """The facts of a file that was given another name, as they were before."""
    image = library.image
    return Library(Image(renamed(library, {alias: soname}), image.name))


def renamed(library: Library, names: Mapping[str, str]) -> bytes:
    """The bytes of a file that calls itself and what it needs by other names.

    Raises:
        InvalidElf: its names are stored in a way that does not allow it.
    """
    image, dynamic = library.image, library.dynamic
    start = dynamic.value(Tag.STRTAB)
    assert start is not None  # noqa: S101  its names were read from it
    table = image.offset_of(start, 1, "the string table")
    content = bytearray(image.data[:])
    for old, new in names.items():
        for place in _places(dynamic.strings, os.fsencode(old)):
            content[table + place : table + place + _size(old)] = os.fsencode(new)
    made = bytes(content)
    _check(library, Library(Image(made, image.name)), names)
    return made


def _places(strings: bytes, name: bytes) -> Iterator[int]:
    """Where a whole string of the table is this name."""
    wanted = b"\0" + name + b"\0"
    at = strings.find(wanted)
    while at >= 0:
        yield at + 1
        at = strings.find(wanted, at + 1)


def _check(before: Library, after: Library, names: Mapping[str, str]) -> None:
    """One string may be the end of another: all names must be as before but for these."""
    if _names(after, {}) != _names(before, names):
        raise before.image.bad("its names are stored in a way that does not let one be changed")


def _names(library: Library, names: Mapping[str, str]) -> tuple[object, ...]:
    dynamic, image = library.dynamic, library.image
    needs = version_needs(image, dynamic)
    soname = dynamic.soname or ""
    own = {**version_definitions(image, dynamic)}
    return (
        [names.get(n, n) for n in dynamic.needed],
        names.get(soname, soname),
        {i: (v.name, names.get(v.library, v.library)) for i, v in needs.items()},
        {i: names.get(n, n) for i, n in own.items()},
        [s.name for s in library.symbols],
        dynamic.texts(Tag.RUNPATH),
    )
