"""May the new library stand in for the old: every rule is asked, every finding is kept."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from libswap.abi import identity, loading, needs, symbols, versions
from libswap.abi.finding import Finding, Severity
from libswap.elf.library import Library

Comparison: TypeAlias = Callable[[Library, Library], Iterator[Finding]]

FIRST: Final[tuple[Comparison, ...]] = (identity.machine, identity.file_type)
"""What rules out every process; nothing else is worth saying then."""

RULES: Final[tuple[Comparison, ...]] = (
    identity.os_abi,
    identity.machine_flags,
    identity.soname,
    symbols.exports,
    versions.version_nodes,
    needs.needed,
    loading.tls,
    loading.executable_stack,
    loading.text_relocations,
    loading.relro,
    loading.bind_now,
    loading.symbolic,
    loading.unloading,
    loading.control_flow,
    loading.instructions,
)
"""What two files tell of themselves."""

_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}


def compare(old: Library, new: Library) -> tuple[Finding, ...]:
    """All that sets the new library apart from the old, the worst first.

    Args:
        old: what programs on this machine are bound to.
        new: what would take its place.
    """
    return _all(FIRST, old, new) or _all(RULES, old, new)


def _all(rules: Iterable[Comparison], old: Library, new: Library) -> tuple[Finding, ...]:
    return in_order(finding for rule in rules for finding in rule(old, new))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, then by rule and subject."""
    return tuple(sorted(findings, key=lambda f: (_ORDER[f.severity], f.rule, f.subject)))
