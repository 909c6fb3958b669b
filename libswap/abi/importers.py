"""Which modules of running processes bind to what a finding speaks of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.abi import catalogue
from libswap.abi.finding import Finding, Importer, Severity
from libswap.elf.library import Library
from libswap.elf.symbols import SymbolKey

_SIZES: Final = frozenset(
    rule.id
    for rule in (
        catalogue.DATA_GREW,
        catalogue.DATA_SHRANK,
        catalogue.VTABLE_SIZE,
        catalogue.TYPEINFO_SIZE,
    )
)
_VERSIONS: Final = frozenset({catalogue.VERSION_REMOVED.id, catalogue.PRIVATE_VERSION_REMOVED.id})


@dataclass(frozen=True, slots=True)
class Affected:
    """A running process that has the old library loaded.

    Attributes:
        pid: its PID.
        name: its short name.
        modules: the files that it maps to execute, the old library left out, named by their paths.
    """

    pid: int
    name: str
    modules: tuple[Library, ...]

    def importer(self, module: Library) -> Importer:
        """One of its modules, as a finding names it."""
        return Importer(self.pid, self.name, module.name)


def name_importers(
    findings: Sequence[Finding], old: Library, affected: Sequence[Affected]
) -> tuple[Finding, ...]:
    """The findings with the modules that bind to their subjects, and the copies that go wrong.

    Args:
        findings: what a comparison found.
        old: the library that the processes have loaded.
        affected: those processes.
    """
    wanted = _Wanted(findings, old)
    users: dict[SymbolKey, list[Importer]] = defaultdict(list)
    nodes: dict[str, list[Importer]] = defaultdict(list)
    copies: dict[SymbolKey, list[Importer]] = defaultdict(list)
    for process in affected:
        for module in process.modules:
            importer = process.importer(module)
            for key in wanted.symbols(module):
                if not _elsewhere(key, process):
                    users[key].append(importer)
            for node in wanted.nodes(module):
                nodes[node].append(importer)
            for key in wanted.copied(module):
                copies[key].append(importer)
    named = [
        f.felt_by(users[f.symbol]) if f.symbol in users and f.severity is not Severity.NOTE
        else f.felt_by(nodes[f.subject]) if f.rule in _VERSIONS and f.subject in nodes
        else f
        for f in findings
    ]  # fmt: skip
    return (*named, *_copied(findings, copies))


class _Wanted:
    """What the findings speak of; what each module wants of it, found out once a module."""

    def __init__(self, findings: Sequence[Finding], old: Library) -> None:
        serious = [f for f in findings if f.severity is not Severity.NOTE]
        self._keys = frozenset(f.symbol for f in serious if f.symbol)
        self._sizes = frozenset(f.symbol for f in findings if f.symbol and f.rule in _SIZES)
        self._nodes = frozenset(f.subject for f in findings if f.rule in _VERSIONS)
        self._soname = old.soname
        self._defaults = {
            key.name: key for key in self._keys if key in old.exports and old.exports[key].default
        }
        self._known: dict[Library, frozenset[SymbolKey]] = {}

    def symbols(self, module: Library) -> frozenset[SymbolKey]:
        """The symbols that a module imports."""
        if module not in self._known:
            self._known[module] = frozenset(self._imported(module)) if self._keys else frozenset()
        return self._known[module]

    def nodes(self, module: Library) -> Iterator[str]:
        """The version nodes that a module wants of the old library."""
        for need in module.version_needs:
            if need.library == self._soname and need.name in self._nodes:
                yield need.name

    def copied(self, module: Library) -> Iterator[SymbolKey]:
        """The symbols that a program holds a copy of."""
        return (key for key in map(self._bound, module.copied) if key in self._sizes)

    def _imported(self, module: Library) -> Iterator[SymbolKey]:
        for symbol in module.imports:
            if not symbol.version:
                key = self._defaults.get(symbol.name)
            elif symbol.library in ("", self._soname):
                key = SymbolKey(symbol.name, symbol.version)
            else:
                continue
            if key in self._keys:
                yield key
        yield from (key for key in map(self._bound, module.copied) if key in self._keys)

    def _bound(self, key: SymbolKey) -> SymbolKey:
        return key if key.version else self._defaults.get(key.name, key)


def _elsewhere(key: SymbolKey, process: Affected) -> bool:
    """Whether another module of the process provides the symbol too."""
    return any(key in module.exports and key not in module.copied for module in process.modules)


def _copied(
    findings: Iterable[Finding], copies: Mapping[SymbolKey, Sequence[Importer]]
) -> Iterator[Finding]:
    for finding in findings:
        if finding.rule in _SIZES and finding.symbol is not None and finding.symbol in copies:
            told = catalogue.COPY_RELOCATION.finding(
                finding.subject, finding.old, finding.new, finding.symbol
            )
            yield told.felt_by(copies[finding.symbol])
