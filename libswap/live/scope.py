"""Which module of a process a reference to a name and version binds to."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from libswap.elf.symbols import Symbol, SymbolType, Visibility
from libswap.live.copies import library_in_use
from libswap.live.library import Name
from libswap.live.module import Module
from libswap.live.registry import Record


class Definition(NamedTuple):
    """Where a name is defined."""

    module: Module
    symbol: Symbol

    @property
    def address(self) -> int:
        """In the process; of an IFUNC that of its resolver."""
        return self.module.base + self.symbol.value

    @property
    def indirect(self) -> bool:
        """Whether the function is what a resolver says."""
        return self.symbol.type == SymbolType.GNU_IFUNC


def lookup(
    modules: Sequence[Module], record: Record, asker: Module, name: str, version: str
) -> Definition | None:
    """The first definition: in the global scope, then among what the asker needs, then anywhere.

    Copies of a library that a swap has put out of use do not count. What dlopen(3) has loaded with
    RTLD_GLOBAL is not known to be global, and comes last.

    Args:
        modules: what is loaded, in load order.
        record: of the process.
        asker: the module that refers to it.
        name: the symbol.
        version: "" for the default one.
    """
    usable = [
        m
        for m in modules
        if m.library is not None
        and m.link.namespace == asker.link.namespace
        and library_in_use(record, m.base) == m.base
    ]
    for module in _ordered(usable, asker):
        symbol = _in(module, name, version)
        if symbol is not None:
            return Definition(module, symbol)
    return None


def _ordered(usable: Sequence[Module], asker: Module) -> Iterator[Module]:
    """Every module once: the program, what was preloaded, what they need; the asker's; the rest."""
    seen: set[int] = set()
    scopes = (_with_needed([*usable[:1], *_preloaded(usable)], usable),
              _with_needed([asker], usable), usable)  # fmt: skip
    for scope in scopes:
        for module in scope:
            if module.link.address not in seen:
                seen.add(module.link.address)
                yield module


def _preloaded(usable: Sequence[Module]) -> Iterator[Module]:
    """What lies between the program and the first library that it needs (ld.so(8), LD_PRELOAD)."""
    wanted = set(usable[0].facts.dynamic.needed) if usable else set()
    for module in usable[1:]:
        if module.facts.dynamic.soname in wanted or not wanted:
            return
        yield module


def _with_needed(starts: Sequence[Module], usable: Sequence[Module]) -> list[Module]:
    """Breadth first, as the dynamic linker searches."""
    by_name = {m.facts.dynamic.soname or m.path.rpartition("/")[2]: m for m in reversed(usable)}
    found = list(starts)
    for module in found:
        needed = (by_name.get(n) for n in module.facts.dynamic.needed)
        found += [m for m in needed if m is not None and m not in found]
    return found


def _in(module: Module, name: str, version: str) -> Symbol | None:
    exported = module.facts.exported
    symbol = exported.get(Name(name, version, "")) or exported.get(Name(name, "", ""))
    if symbol is None and not version:
        symbol = next((s for n, s in exported.items() if n.name == name and s.default), None)
    hidden = (Visibility.HIDDEN, Visibility.INTERNAL)
    return None if symbol is None or symbol.visibility in hidden else symbol
