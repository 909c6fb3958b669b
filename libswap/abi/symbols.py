"""Rules on what a library exports.

A reference is matched with a definition as glibc's dl-lookup.c (check_match) does it: a wanted
version binds to that version or to a definition without one; an unversioned reference binds to
the default version.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from libswap.abi import catalogue
from libswap.abi.finding import Finding
from libswap.abi.versions import is_private
from libswap.elf.library import Library
from libswap.elf.symbols import Binding, Symbol, SymbolKey, SymbolType, Visibility

LINKER_MADE: Final = frozenset(
    {"_init", "_fini", "_edata", "edata", "_end", "end", "__bss_start", "_ftext", "_fdata", "_fbss"}
)
"""What linkers put into the table of a library; nobody binds to those of another one."""

_CODE: Final = frozenset({int(SymbolType.FUNC), int(SymbolType.GNU_IFUNC)})
_DATA: Final = frozenset({int(SymbolType.OBJECT), int(SymbolType.COMMON)})

_ByName: TypeAlias = Mapping[str, Collection[Symbol]]


class Pair(NamedTuple):
    """What a reference bound to, and what it would bind to."""

    was: Symbol
    now: Symbol

    @property
    def key(self) -> SymbolKey:
        """What the reference binds by."""
        return SymbolKey(self.was.name, self.was.version)


def exports(old: Library, new: Library) -> Iterator[Finding]:
    """Every symbol that went, came, or is not what it was."""
    gone, pairs = _match(old, new)
    names = {s.name for s in gone} | {p.was.name for p in pairs if p.was.default}
    others = _by_name(new, names) if names else {}
    for was in gone:
        heir = _heir(was, others.get(was.name, ()))
        if heir:
            pairs.append(Pair(was, heir))
        else:
            yield _lost(was, others.get(was.name, ()))
    for pair in pairs:
        for rule in CHANGES:
            yield from rule(pair)
        yield from default_version(pair, others.get(pair.was.name, ()))
    yield from added(old, new, {s.name for s in gone})


def added(old: Library, new: Library, moved: Collection[str]) -> Iterator[Finding]:
    """Symbols that only the new library has; `moved` are told of as having changed version."""
    for key, now in new.exports.items():
        if key not in old.exports and key.name not in moved and key.name not in LINKER_MADE:
            yield catalogue.SYMBOL_ADDED.finding(now.label, "", _kind(now), key)


def default_version(pair: Pair, others: Collection[Symbol]) -> Iterator[Finding]:
    """name@@V that became name@V; `others` are all definitions of that name."""
    was, now = pair
    if was.version and was.version == now.version and was.default and not now.default:
        default = next((s for s in others if s.default), None)
        if default:
            yield catalogue.DEFAULT_VERSION_MOVED.finding(
                was.name, was.label, default.label, pair.key
            )
        else:
            yield catalogue.DEFAULT_VERSION_LOST.finding(was.name, was.label, now.label, pair.key)


def version(pair: Pair) -> Iterator[Finding]:
    """A symbol that lost its version, or got one."""
    was, now = pair
    if was.version and not now.version:
        yield catalogue.SYMBOL_VERSION_LOST.finding(was.label, was.version, "no version", pair.key)
    elif now.version and not was.version:
        yield catalogue.SYMBOL_VERSION_GAINED.finding(
            was.label, "no version", now.version, pair.key
        )


def kind(pair: Pair) -> Iterator[Finding]:
    """Function, data or thread-local."""
    was, now = pair
    if was.type == now.type or {was.type, now.type} <= _CODE or {was.type, now.type} <= _DATA:
        return
    unknown = SymbolType.NOTYPE in (was.type, now.type)
    thread_local = SymbolType.TLS in (was.type, now.type)
    rule = catalogue.SYMBOL_KIND_UNKNOWN if unknown and not thread_local else catalogue.SYMBOL_KIND
    yield rule.finding(was.label, _kind(was), _kind(now), pair.key)


def ifunc(pair: Pair) -> Iterator[Finding]:
    """A function that is now chosen by a resolver, or no longer."""
    was, now = pair
    if was.type != now.type and {was.type, now.type} <= _CODE:
        gained = now.type == SymbolType.GNU_IFUNC
        rule = catalogue.IFUNC_GAINED if gained else catalogue.IFUNC_LOST
        yield rule.finding(was.label, _kind(was), _kind(now), pair.key)


def size(pair: Pair) -> Iterator[Finding]:
    """The size of data; a function's size is nobody's business."""
    was, now = pair
    if was.size in (0, now.size) or was.type != now.type:
        return
    if was.type == SymbolType.TLS:
        rule = catalogue.TLS_SYMBOL_SIZE
    elif was.type not in _DATA:
        return
    elif was.name.startswith(("_ZTV", "_ZTT", "_ZTC")):  # Itanium C++ ABI 5.1.4: virtual tables
        rule = catalogue.VTABLE_SIZE
    elif was.name.startswith("_ZTI"):  # typeinfo
        rule = catalogue.TYPEINFO_SIZE
    else:
        rule = catalogue.DATA_GREW if now.size > was.size else catalogue.DATA_SHRANK
    yield rule.finding(was.label, f"{was.size} bytes", f"{now.size} bytes", pair.key)


def binding(pair: Pair) -> Iterator[Finding]:
    """Global, weak or unique."""
    was, now = pair
    if was.binding != now.binding:
        unique = Binding.GNU_UNIQUE in (was.binding, now.binding)
        rule = catalogue.BINDING_UNIQUE if unique else catalogue.BINDING
        old, new = (_name(Binding, s.binding) for s in pair)
        yield rule.finding(was.label, old, new, pair.key)


def visibility(pair: Pair) -> Iterator[Finding]:
    """Default or protected; hidden symbols are not exported at all."""
    was, now = pair
    if was.visibility != now.visibility:
        old, new = (_name(Visibility, s.visibility) for s in pair)
        yield catalogue.VISIBILITY.finding(was.label, old, new, pair.key)


CHANGES: Final[tuple[Callable[[Pair], Iterator[Finding]], ...]] = (
    version, kind, ifunc, size, binding, visibility,
)  # fmt: skip


def _match(old: Library, new: Library) -> tuple[list[Symbol], list[Pair]]:
    """What has no definition of the same key, and the pairs that differ in what a rule looks at."""
    gone: list[Symbol] = []
    pairs: list[Pair] = []
    find = new.exports.get
    for key, was in old.exports.items():
        now = find(key)
        if now is None:
            if was.name not in LINKER_MADE:
                gone.append(was)
        elif (
            was[7:] != now[7:]  # type, binding, visibility
            or was.default != now.default
            or (was.size != now.size and was.type not in _CODE)
        ) and was.name not in LINKER_MADE:
            pairs.append(Pair(was, now))
    return gone, pairs


def _by_name(library: Library, names: Collection[str]) -> _ByName:
    found: dict[str, list[Symbol]] = {}
    for symbol in library.exports.values():
        if symbol.name in names:
            found.setdefault(symbol.name, []).append(symbol)
    return found


def _heir(was: Symbol, others: Collection[Symbol]) -> Symbol | None:
    """The definition under another key that old references bind to."""
    if was.version:
        return next((s for s in others if not s.version), None)
    return next((s for s in others if s.default), None)


def _lost(was: Symbol, others: Collection[Symbol]) -> Finding:
    key = SymbolKey(was.name, was.version)
    if is_private(was.version):
        return catalogue.PRIVATE_SYMBOL_REMOVED.finding(was.label, _kind(was), "", key)
    if others:
        versions = ", ".join(sorted(s.version for s in others))
        return catalogue.SYMBOL_VERSION_CHANGED.finding(
            was.label, was.version or "no version", versions, key
        )
    return catalogue.SYMBOL_REMOVED.finding(was.label, _kind(was), "", key)


def _kind(symbol: Symbol) -> str:
    words = {
        SymbolType.NOTYPE: "a symbol of no kind",
        SymbolType.OBJECT: f"data, {symbol.size} bytes",
        SymbolType.COMMON: f"data, {symbol.size} bytes",
        SymbolType.FUNC: "a function",
        SymbolType.TLS: f"thread-local data, {symbol.size} bytes",
        SymbolType.GNU_IFUNC: "a function chosen at start (IFUNC)",
    }
    return {int(k): v for k, v in words.items()}.get(symbol.type, f"kind {symbol.type}")


def _name(kinds: type[Binding | Visibility], number: int) -> str:
    known = {int(k): k.name.lower() for k in kinds}
    return known.get(number, str(number))
