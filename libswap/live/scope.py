"""Which module of a process a reference to a name and version binds to."""

from collections.abc import Sequence
from typing import NamedTuple

from libswap.elf.symbols import Symbol, SymbolType, Visibility
from libswap.live.library import Name
from libswap.live.module import Module
from libswap.live.registry import Record
from libswap.live.swap import library_in_use


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
    modules: Sequence[Module], record: Record, namespace: int, name: str, version: str
) -> Definition | None:
    """The first definition in load order, the main program's included (ld.so(8)).

    Copies of a library that a swap has put out of use do not count.

    Args:
        modules: what is loaded.
        record: of the process.
        namespace: of the module that refers to it.
        name: the symbol.
        version: "" for the default one.
    """
    for module in modules:
        usable = module.library is not None and module.link.namespace == namespace
        if not usable or library_in_use(record, module.base) != module.base:
            continue
        symbol = _in(module, name, version)
        if symbol is not None:
            return Definition(module, symbol)
    return None


def _in(module: Module, name: str, version: str) -> Symbol | None:
    exported = module.facts.exported
    symbol = exported.get(Name(name, version, "")) or exported.get(Name(name, "", ""))
    if symbol is None and not version:
        symbol = next((s for n, s in exported.items() if n.name == name and s.default), None)
    hidden = (Visibility.HIDDEN, Visibility.INTERNAL)
    return None if symbol is None or symbol.visibility in hidden else symbol
