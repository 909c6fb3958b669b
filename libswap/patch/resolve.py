"""What the names in a patch's objects stand for: itself, its target, or other modules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from libswap.elf.relocatable import Relocatable
from libswap.elf.symbols import (
    SHN_ABS,
    SHN_COMMON,
    Binding,
    Symbol,
    SymbolType,
    Visibility,
)
from libswap.errors.patch import SymbolsUnresolved
from libswap.patch.layout import SectionKey
from libswap.patch.patch import Import, Indirect, Kind, Module, Reference, Use
from libswap.patch.target import Target, TargetSymbol

ORIGINAL: Final = "libswap_original_"
TLS_GET_ADDR: Final = "__tls_get_addr"


class InPatch(NamedTuple):
    """A place in a section of an object."""

    section: SectionKey
    value: int
    size: int


class InCommon(NamedTuple):
    """A tentative definition of C that the target has no variable for."""

    name: str
    size: int


class Absolute(NamedTuple):
    """A number that is no address; 0 for a weak name that nothing defines."""

    value: int


class Outside(NamedTuple):
    """Something of the process.

    Attributes:
        reference: what it hangs on.
        value: what is added to it.
        function: whether a jump to it may stand in for it.
    """

    reference: Reference
    value: int
    function: bool
    size: int


class ThreadLocal(NamedTuple):
    """A thread-local variable of the target.

    Attributes:
        value: offset in the target's TLS block.
    """

    value: int
    size: int


class OriginalOf(NamedTuple):
    """The replaced function as it was."""

    name: str


class GlobalOffsetTable(NamedTuple):
    """_GLOBAL_OFFSET_TABLE_ of the patch."""


class Discarded(NamedTuple):
    """A place in a COMDAT section of which another object's copy was kept."""


Meaning: TypeAlias = (
    InPatch
    | InCommon
    | Absolute
    | Outside
    | ThreadLocal
    | OriginalOf
    | GlobalOffsetTable
    | Discarded
)


@dataclass
class Names:
    """The names of several objects linked together against one target.

    Attributes:
        kept: the sections that take part.
        aliases: name in the patch -> name in the target ("name" or "name@file.c").
        uses: what of the target was referred to so far.
        problems: what could not be resolved so far.
    """

    objects: Sequence[Relocatable]
    kept: frozenset[SectionKey]
    target: Target
    aliases: Mapping[str, str]
    uses: dict[Use, None] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Collect the definitions; of two strong ones of a name, say so."""
        self._definitions: dict[str, tuple[int, Symbol]] = {}
        self._known: dict[tuple[int, int], Meaning] = {}
        for number, symbol in self._globals():
            before = self._definitions.get(symbol.name)
            if before is None or before[1].binding == Binding.WEAK != symbol.binding:
                self._definitions[symbol.name] = (number, symbol)
            elif symbol.binding == Binding.GLOBAL:
                self.problems[f"{symbol.name} is defined by two objects"] = None

    def functions(self) -> Iterator[tuple[int, Symbol]]:
        """(object, symbol) of every function that the objects define."""
        for number, one in enumerate(self.objects):
            for symbol in one.symbols:
                defined = symbol.defined and SectionKey(number, symbol.section) in self.kept
                if symbol.is_function and defined and symbol.name:
                    yield number, symbol

    def variables(self) -> Iterator[tuple[int, Symbol]]:
        """(object, symbol) of every variable that the objects define."""
        for number, one in enumerate(self.objects):
            for symbol in one.symbols:
                if symbol.type == SymbolType.OBJECT and symbol.defined and symbol.name:
                    yield number, symbol

    def definition(self, name: str) -> InPatch | None:
        """The place of what the objects define under a name: global, or the one static."""
        found = self._definitions.get(name)
        if found is None:
            local = [(n, s) for n, s in self.functions() if s.name == name]
            if len(local) != 1:
                return None
            found = local[0]
        number, symbol = found
        return None if symbol.section in (SHN_COMMON, SHN_ABS) else self.place_of(number, symbol)

    def place_of(self, number: int, symbol: Symbol) -> InPatch:
        """The place of a symbol that an object defines."""
        return InPatch(SectionKey(number, symbol.section), symbol.value, symbol.size)

    def is_shared(self, name: str) -> bool:
        """Whether a variable that the objects define stands for the target's own."""
        found = self._definitions.get(name)
        if found is None:
            return False
        number, symbol = found
        if symbol.section == SHN_COMMON:
            return True
        section = self.objects[number].sections.get(symbol.section)
        return section is not None and bool(section.group) and bool(self.target.find(name))

    def meaning(self, number: int, index: int) -> Meaning:
        """What a symbol of an object stands for; problems are kept for `check`."""
        key = (number, index)
        if key not in self._known:
            self._known[key] = self._meaning(number, self.objects[number].symbols[index])
        return self._known[key]

    def label(self, number: int, index: int) -> str:
        """A symbol's name, or its section's, for what may have to be said."""
        symbol = self.objects[number].symbols[index]
        section = self.objects[number].sections.get(symbol.section)
        return symbol.name or (section.name if section else "a number")

    def check(self) -> None:
        """Raise everything that could not be resolved.

        Raises:
            SymbolsUnresolved: there is something.
        """
        if self.problems:
            raise SymbolsUnresolved(self.target.image.name, tuple(self.problems))

    def _globals(self) -> Iterator[tuple[int, Symbol]]:
        for number, one in enumerate(self.objects):
            for symbol in one.symbols:
                if symbol.binding == Binding.LOCAL or not symbol.defined or not symbol.name:
                    continue
                place = SectionKey(number, symbol.section)
                if symbol.section in (SHN_ABS, SHN_COMMON) or place in self.kept:
                    yield number, symbol

    def _meaning(self, number: int, symbol: Symbol) -> Meaning:
        if symbol.binding != Binding.LOCAL and symbol.name in self._definitions:
            number, symbol = self._definitions[symbol.name]
        match symbol.section:
            case 0 if symbol.name == "":  # the null symbol: a relocation against a bare number
                return Absolute(0)
            case 0:  # SHN_UNDEF
                return self._undefined(number, symbol)
            case value if value == SHN_ABS:
                return Absolute(symbol.value)
            case value if value == SHN_COMMON:
                theirs = self._in_target(number, symbol)
                return theirs or InCommon(symbol.name, symbol.size)
        section = SectionKey(number, symbol.section)
        if section not in self.kept:
            return Discarded()
        if symbol.type == SymbolType.GNU_IFUNC:
            self.problems[f"{symbol.name} is an indirect function, which a patch cannot be"] = None
        if symbol.type == SymbolType.TLS:
            self.problems[f"{symbol.name} would be a new thread-local variable"] = None
        if symbol.type == SymbolType.OBJECT and self.is_shared(symbol.name):
            # An inline variable, a function's static in an inline function: one for all modules.
            return self._in_target(number, symbol) or InPatch(section, symbol.value, symbol.size)
        return InPatch(section, symbol.value, symbol.size)

    def _undefined(self, number: int, symbol: Symbol) -> Meaning:
        name = symbol.name
        if name.startswith(ORIGINAL):
            return OriginalOf(name.removeprefix(ORIGINAL))
        if name == "_GLOBAL_OFFSET_TABLE_":
            return GlobalOffsetTable()
        if name == "__dso_handle":
            return GlobalOffsetTable()  # any address of the patch's own serves as its handle
        if name == "_TLS_MODULE_BASE_":  # the start of the target's block, for local-dynamic access
            return ThreadLocal(0, 0)
        found = self._in_target(number, symbol) or self._elsewhere(symbol)
        if found is not None:
            return found
        if symbol.binding != Binding.WEAK:
            self.problems[self._absence(name)] = None
        return Absolute(0)

    def _in_target(self, number: int, symbol: Symbol) -> Meaning | None:
        wanted = self.aliases.get(symbol.name, symbol.name)
        every = self.target.find(wanted)
        chosen = _preferred(every, self.objects[number].source)
        strange = bool(chosen) and _foreign(chosen, self, number)
        elsewhere = strange and symbol.name not in self.aliases and bool(self._elsewhere(symbol))
        if len(chosen) > 1 or elsewhere:
            labels = ", ".join(dict.fromkeys(s.label for s in chosen))
            also = " or what another module exports" if elsewhere else ""
            self.problems[f"{symbol.name} can be {labels}{also}"] = None
        return self._outside(chosen[0], symbol) if chosen else None

    def _outside(self, found: TargetSymbol, symbol: Symbol) -> Meaning:
        theirs = found.symbol
        if theirs.type == SymbolType.TLS:
            self._use(found, "thread-local variable")
            return ThreadLocal(theirs.value, theirs.size)
        function = theirs.is_function or symbol.type == SymbolType.FUNC
        if found.preemptible and symbol.visibility == Visibility.DEFAULT:
            version, library = theirs.version, self.target.pin.name if theirs.version else ""
            wanted = Import(theirs.name, version, library, weak=False)
            return Outside(wanted, 0, function, theirs.size)
        self._use(found, "function" if function else "variable")
        if theirs.type == SymbolType.GNU_IFUNC:
            return Outside(Indirect(theirs.value), 0, function, theirs.size)
        return Outside(Module(), theirs.value, function, theirs.size)

    def _elsewhere(self, symbol: Symbol) -> Outside | None:
        """What other modules export: as the target itself wants it, else as their files say."""
        name, weak = symbol.name, symbol.binding == Binding.WEAK
        if name in self.target.imports:
            theirs = self.target.imports[name]
            known = self.target.exports.get(name)
            function = theirs.is_function or (known is not None and known[0].is_function)
            library = theirs.library
        elif name in self.target.exports:
            theirs, library = self.target.exports[name]
            function = theirs.is_function
        elif name == TLS_GET_ADDR and self.target.dynamic is not None:
            return Outside(Import(name, "", "", weak), 0, function=True, size=0)
        else:
            return None
        if theirs.type == SymbolType.TLS:
            self.problems[f"{name} is a thread-local variable of another module"] = None
        wanted = Import(name, theirs.version, library if theirs.version else "", weak)
        return Outside(wanted, 0, function, theirs.size)

    def _use(self, found: TargetSymbol, what: str) -> None:
        self.uses[Use(found.symbol.name, found.unit, found.symbol.value, what)] = None

    def _absence(self, name: str) -> str:
        if name in self.aliases:
            return f"{self.aliases[name]} (for {name}) is not in it"
        clones = [n for n in self.target.names if n.startswith(f"{name}.")]
        if clones:
            return f"{name} is not in it, only {', '.join(sorted(clones)[:4])}"
        if self.target.stripped and self.target.kind != Kind.LIBRARY:
            return f"{name} is not known (the target is stripped)"
        return f"{name} is not in it nor exported by a known library"


def _preferred(every: tuple[TargetSymbol, ...], source: str) -> tuple[TargetSymbol, ...]:
    """The static of the same source file, else the global, else what there is; aliases are one."""
    for choice in (
        [s for s in every if s.unit and s.unit == source],
        [s for s in every if not s.unit],
    ):
        if choice:
            return tuple({s.symbol.value: s for s in choice}.values())
    return tuple({s.symbol.value: s for s in every}.values())


def _foreign(chosen: tuple[TargetSymbol, ...], names: Names, number: int) -> bool:
    """Whether it is a static of a file that the object was not compiled from."""
    return all(s.unit and s.unit != names.objects[number].source for s in chosen)
