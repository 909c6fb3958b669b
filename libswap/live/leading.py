"""Where the addresses of older copies lead in the copy to be used, and the words that say so.

Slots of other modules, the new copy's own references, and the older copies' symbol tables.
"""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from libswap.elf.dynamic import Tag
from libswap.elf.symbols import Binding, SymbolType
from libswap.linux.memory import Memory
from libswap.live.findings import Finding, refuse
from libswap.live.got import Slot, read_words, slots
from libswap.live.library import Name
from libswap.live.module import Module
from libswap.live.pairing import Pairing
from libswap.live.writing import Write

_MASK: Final = (1 << 64) - 1
_SYMBOL_SIZE: Final = 24
_VALUE_IN_SYMBOL: Final = 8
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Places:
    """Words that are to be changed, with what they hold and will hold.

    Attributes:
        writes: all of them.
        findings: what could not be led to the new library.
    """

    writes: tuple[Write, ...]
    findings: tuple[Finding, ...] = ()


def word(address: int, old: int, new: int) -> Write:
    """The change of one 8-byte word."""
    return Write(address, struct.pack("<Q", old & _MASK), struct.pack("<Q", new & _MASK))


@dataclass(frozen=True, slots=True)
class Leading:
    """Where the addresses in one copy lead in the copy to be used.

    Attributes:
        source: the copy.
        target: the copy to be used.
        by_name: exported name -> (address in the source, address in the target).
        entries: function entry -> function entry, absolute.
        gone: names that only the source exports.
    """

    source: Module
    target: Module
    by_name: Mapping[Name, tuple[int, int]]
    entries: Mapping[int, int]
    gone: frozenset[str]

    @classmethod
    def of(
        cls, source: Module, target: Module, pairing: Pairing,
        answers: Mapping[Name, tuple[int, int]],
    ) -> "Leading":  # fmt: skip
        """Bring a pairing of two files to the addresses of a process."""
        by_name = {
            f.name: (source.base + f.old, target.base + f.new)
            for f in pairing.forwards
            if not f.ifunc
        }
        entries = {source.base + a: target.base + b for a, b in pairing.functions.items()}
        entries |= {a: b for a, b in answers.values() if a in source.extent}
        gone = frozenset(n.name for n in pairing.gone)
        return cls(source, target, {**by_name, **answers}, entries, gone)

    def of_slot(self, slot: Slot) -> int | None:
        """What a slot that points into the source is to hold, None where nothing fits."""
        for name in (Name(slot.name, slot.version, ""), Name(slot.name, "", "")):
            if name in self.by_name:
                old, new = self.by_name[name]
                if old + slot.addend == slot.value:
                    return new + slot.addend
        if slot.value in self.entries:
            return self.entries[slot.value]
        return self._of_data(slot.value)

    def _of_data(self, value: int) -> int | None:
        """An exported object under another version than the one that was asked for."""
        return next((new for old, new in self.by_name.values() if old == value), None)


def slot_writes(
    memory: Memory, others: Iterable[Module], ways: Sequence[Leading], retired: Collection[int]
) -> Places:
    """The slots of other modules that point into any of the old copies.

    Args:
        memory: of the process.
        others: modules that are no copies of this library.
        ways: from the old copies to the one to be used.
        retired: load bases of modules that go out of use too: what they miss, nobody will.
    """
    writes: list[Write] = []
    gone: dict[str, str] = {}
    targets = [way.source.extent for way in ways]
    for module in others:
        if module.library is None:
            continue
        for slot in slots(memory, module, targets):
            way = next(w for w in ways if slot.value in w.source.extent)
            value = way.of_slot(slot)
            if value is not None:
                writes.append(word(slot.place, slot.value, value))
            elif slot.name and module.base not in retired:
                gone[slot.name] = slot.module
    if not gone:
        return Places(tuple(writes))
    names = ", ".join(sorted(gone)[:_SHOWN])
    found = refuse(
        "gone-in-use", names, f"used by {next(iter(gone.values()))}, not in the new library"
    )
    return Places(tuple(writes), (found,))


def own_slot_writes(memory: Memory, new: Module, ways: Sequence[Leading]) -> Places:
    """References of the new copy to its own exports that were bound to an older copy.

    The global scope comes first (ld.so(8)); a definition that a program or a preload interposes
    stays in force, for it lies in none of the copies. STB_GNU_UNIQUE objects are one for all.
    """
    library = new.facts
    by_name = {Name(s.name, s.version, ""): s for s in library.symbols if s.defined}
    answers = {
        old: to for way in ways for name, (old, to) in way.by_name.items()
        if name in by_name and by_name[name].type == SymbolType.GNU_IFUNC
    }  # fmt: skip
    writes = []
    for slot in slots(memory, new, [way.source.extent for way in ways]):
        symbol = by_name.get(Name(slot.name, slot.version, ""))
        if symbol is None or symbol.binding == Binding.GNU_UNIQUE:
            continue
        if symbol.type == SymbolType.GNU_IFUNC:
            value = answers.get(slot.value, slot.value)
        else:
            value = new.base + symbol.value + slot.addend
        writes.append(word(slot.place, slot.value, value))
    return Places(tuple(writes))


def symbol_writes(
    memory: Memory, side: Module, target: Module, pairing: Pairing, elsewhere: frozenset[str]
) -> tuple[Write, ...]:
    """Let the dynamic symbol table of an older copy give the addresses of the new one.

    What is bound later finds the older copy first: a lazy slot, dlsym(3), a module that is loaded
    tomorrow. l_addr + st_value wraps around in every dynamic linker, so that st_value can name any
    address. Copy-relocated objects keep theirs.
    """
    start = side.facts.dynamic.value(Tag.SYMTAB)
    forwards = [f for f in pairing.forwards if f.name.name not in elsewhere]
    if start is None or not forwards:
        return ()
    places = [side.base + start + f.index * _SYMBOL_SIZE + _VALUE_IN_SYMBOL for f in forwards]
    now = read_words(memory, places)
    return tuple(
        word(place, value, target.base + f.new - side.base)
        for place, value, f in zip(places, now, forwards, strict=True)
    )


def own_symbol_writes(memory: Memory, side: Module) -> tuple[Write, ...]:
    """Give a copy that is used again its own symbol table back."""
    start = side.facts.dynamic.value(Tag.SYMTAB)
    symbols = [(i, s) for i, s in enumerate(side.facts.symbols) if s.defined]
    if start is None or not symbols:
        return ()
    places = [side.base + start + i * _SYMBOL_SIZE + _VALUE_IN_SYMBOL for i, _ in symbols]
    now = read_words(memory, places)
    return tuple(
        word(place, value, symbol.value)
        for place, value, (_, symbol) in zip(places, now, symbols, strict=True)
        if value != symbol.value
    )


def with_answers(pairing: Pairing, source: Module, target: Module,
                 answers: Mapping[Name, tuple[int, int]]) -> Pairing:  # fmt: skip
    """The pairing with the functions that IFUNC resolvers chose."""
    chosen = {
        old - source.base: new - target.base
        for old, new in answers.values()
        if old in source.extent and new in target.extent
    }
    labels = {old - source.base: str(n) for n, (old, _) in answers.items() if old in source.extent}
    return replace(
        pairing,
        functions={**chosen, **pairing.functions},
        labels={**labels, **pairing.labels},
    )
