"""Rules on what surrounds a library when it is loaded: are its needs met there?

A need that the old library has as well, and that is not met for it either, is nothing new and no
finding: a plug-in takes symbols from programs that nobody can name beforehand.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from libswap.abi import catalogue
from libswap.abi.finding import Finding, Rule
from libswap.elf.library import Library
from libswap.elf.symbols import Binding, Symbol, SymbolKey
from libswap.elf.versions import Version

_MAX_LABELS: Final = 8


@dataclass(frozen=True)
class Scope:
    """The libraries around one library in one process, or in any process started now.

    Attributes:
        label: whose scope it is, in words.
        libraries: all others that are loaded, without the library itself; where two have the same
            name, the one first that a new start would load.
        program_known: whether the program is among them, which can provide symbols as well.
        missing: needed libraries that were not found.
        damaged: needed libraries that were found and could not be read, each with the reason.
        isa_level: the x86-64 level of the processor, 1 to 4; None where it is not known.
    """

    label: str
    libraries: tuple[Library, ...]
    program_known: bool = True
    missing: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    isa_level: int | None = None

    @cached_property
    def _keys(self) -> frozenset[SymbolKey]:
        return frozenset(key for library in self.libraries for key in library.exports)

    @cached_property
    def _defaults(self) -> frozenset[str]:
        """The names that an unversioned reference finds."""
        return frozenset(
            key.name
            for library in self.libraries
            for key, symbol in library.exports.items()
            if symbol.default
        )

    def provides(self, wanted: Symbol) -> bool:
        """Whether a reference finds a definition, as `abi.symbols` says that it is matched."""
        if not wanted.version:
            return wanted.name in self._defaults
        return (wanted.name, wanted.version) in self._keys or (wanted.name, "") in self._keys

    def named(self, soname: str) -> Library | None:
        """The library of that name."""
        return next(
            (
                library
                for library in self.libraries
                if library.soname == soname or library.name.rpartition("/")[2] == soname
            ),
            None,
        )


class Problem(NamedTuple):
    """What a library does not find in a scope."""

    rule: Rule
    subject: str
    wanted: str
    there: str


Need: TypeAlias = Callable[[Library, Scope], Iterator[Problem]]


def libraries(_library: Library, scope: Scope) -> Iterator[Problem]:
    """DT_NEEDED, with all that the needed ones need in turn."""
    for name in scope.missing:
        yield Problem(catalogue.NEEDED_NOT_FOUND, name, "needed", "not found")
    for name, reason in scope.damaged:
        yield Problem(catalogue.NEEDED_UNREADABLE, name, "needed", reason)


def version_nodes(library: Library, scope: Scope) -> Iterator[Problem]:
    """DT_VERNEED, such as a newer GLIBC than the one that is here."""
    for need in library.version_needs:
        provider = scope.named(need.library)
        if provider is not None:
            yield from _version(need, provider)


def symbols(library: Library, scope: Scope) -> Iterator[Problem]:
    """Strong references; in a scope with missing libraries nobody can say."""
    if scope.missing or scope.damaged:
        return
    for symbol in library.imports:
        if symbol.binding != Binding.WEAK and not scope.provides(symbol):
            origin = f"wanted from {symbol.library}" if symbol.library else "wanted"
            yield Problem(catalogue.SYMBOL_UNRESOLVED, symbol.label, origin, "provided by nothing")


def instructions(library: Library, scope: Scope) -> Iterator[Problem]:
    """The x86-64 level that the file says it needs."""
    level = library.x86.isa_needed.bit_length()
    if scope.isa_level is not None and level > scope.isa_level:
        here = f"this processor has x86-64-v{scope.isa_level}"
        yield Problem(catalogue.ISA_MISSING, "", f"x86-64-v{level}", here)


NEEDS: Final[tuple[Need, ...]] = (libraries, version_nodes, symbols, instructions)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The same place with the old and with the new library in it."""

    old: Scope
    new: Scope


def unmet(old: Library, new: Library, places: Iterable[Surroundings]) -> tuple[Finding, ...]:
    """The needs that the new library brings and that are not met.

    Args:
        old: the library that is there.
        new: what would take its place.
        places: the processes, or kinds of processes, that load it.
    """
    labels: dict[Problem, list[str]] = defaultdict(list)
    for place in places:
        known = set(_problems(old, place.old))
        for problem in _problems(new, place.new):
            if problem not in known:
                labels[_judged(problem, known, place.new)].append(place.new.label)
    return tuple(
        rule.finding(subject, wanted, f"{there} ({_listed(where)})")
        for (rule, subject, wanted, there), where in labels.items()
    )


def _problems(library: Library, scope: Scope) -> Iterator[Problem]:
    return (problem for need in NEEDS for problem in need(library, scope))


def _judged(problem: Problem, known: Collection[Problem], scope: Scope) -> Problem:
    """A library that always took symbols from its program may take one more from there."""
    unresolved = catalogue.SYMBOL_UNRESOLVED
    is_plugin = any(before.rule is unresolved for before in known)
    if problem.rule is unresolved and is_plugin and not scope.program_known:
        return problem._replace(rule=catalogue.SYMBOL_OF_PROGRAM)
    return problem


def _version(need: Version, provider: Library) -> Iterator[Problem]:
    subject, wanted = f"{need.name} of {need.library}", "wanted"
    if need.name in provider.versions or need.name == provider.base_version:
        return
    if provider.versions or provider.base_version is not None:
        if not need.weak:
            there = f"not in {provider.name}"
            yield Problem(catalogue.VERSION_MISSING, subject, wanted, there)
    else:
        there = f"{provider.name} has no versions"
        yield Problem(catalogue.VERSION_UNCHECKED, subject, wanted, there)


def _listed(labels: list[str]) -> str:
    more = len(labels) - _MAX_LABELS
    return ", ".join(labels[:_MAX_LABELS]) + (f" and {more} more" if more > 0 else "")
