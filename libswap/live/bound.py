"""What the dynamic linker may have put into the words of a module's data that wait for a symbol."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.elf.relocations import X86_64
from libswap.elf.symbols import Symbol, SymbolType
from libswap.linux.memory import Range
from libswap.live.module import Module

_MASK: Final = (1 << 64) - 1


@dataclass(slots=True)
class Bound:
    """What one word may hold that nobody has written to since.

    Attributes:
        values: for every definition of its symbol in the process: which of them counts does not
            matter here.
        chosen: where the function lies that a resolver has chosen (STT_GNU_IFUNC).
    """

    values: set[int] = field(default_factory=set)
    chosen: list[Range] = field(default_factory=list)

    def may_be(self, value: int) -> bool:
        """Whether it is one of them; nothing, where the symbol is defined nowhere."""
        if not self.values and not self.chosen:
            return True
        return value in self.values or any(value in extent for extent in self.chosen)


def bound(module: Module, words: Collection[int], modules: Sequence[Module]) -> Mapping[int, Bound]:
    """For those of some words that the linker fills in by a symbol.

    Args:
        module: whose words.
        words: their virtual addresses.
        modules: all of the process.
    """
    symbols = module.facts.symbols
    wanted = [
        (r.offset, symbols[r.symbol].name, r.addend)
        for r in (module.facts.relocations if words else ())
        if r.offset in words and r.type == X86_64.ADDR64 and 0 < r.symbol < len(symbols)
    ]
    names = {name for _, name, _ in wanted}
    defined: dict[str, list[tuple[Module, Symbol]]] = defaultdict(list)
    for one in modules if names else ():
        for symbol in one.library.symbols if one.library is not None else ():
            # A program's own entry for a function of elsewhere has a value, and no section.
            if symbol.name in names and (symbol.defined or symbol.value):
                defined[symbol.name].append((one, symbol))
    return {at: _bound(defined[name], addend) for at, name, addend in wanted}


def _bound(definitions: Sequence[tuple[Module, Symbol]], addend: int) -> Bound:
    found = Bound()
    for module, symbol in definitions:
        if symbol.type == SymbolType.GNU_IFUNC:
            found.chosen.append(module.extent)
        found.values.add((module.base + symbol.value + addend) & _MASK)
    return found
