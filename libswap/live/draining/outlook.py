"""What draining one library in one process would do, found out without touching it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from libswap.elf.symbols import SymbolType
from libswap.live.draining.entries import left_out
from libswap.live.draining.handles import ASK_ALL, Description, Rule
from libswap.live.findings import Finding, Severity, note, refuse, risk
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.outlook import Options, fitting, pairing_by_name_of, remembered
from libswap.live.plan import hooked
from libswap.live.redirect import Redirect, Redirects
from libswap.live.subject import Subject
from libswap.live.survey import changed

_SHOWN: Final = 6
_CLEAR: Final = "a restart of the process"


@dataclass(frozen=True, slots=True)
class DrainEntry:
    """One exported function and what its dispatcher goes by."""

    name: str
    kind: str
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrainOutlook:
    """The plan for one process.

    Attributes:
        library: path of the library as the process knows it.
        old: build id of the copy in use.
        new: build id of the copy that will make objects.
        description: name of the description of its handles.
        kinds: how many functions get which kind of dispatcher.
        entries: each of them.
        findings: what stands in the way, or should be known.
    """

    library: str
    old: str
    new: str
    description: str
    kinds: Mapping[str, int]
    entries: tuple[DrainEntry, ...]
    findings: tuple[Finding, ...]

    def stoppers(self, *, force: bool) -> tuple[Finding, ...]:
        """The findings that stop it."""
        stopping = {Severity.REFUSE} if force else {Severity.REFUSE, Severity.RISK}
        return tuple(f for f in self.findings if f.severity in stopping)


@dataclass(frozen=True, slots=True)
class Work:
    """The facts that do not change until the process stops.

    Attributes:
        subject: the process.
        source: the copy in use.
        library: the file to be used.
        description: of its handles.
        chosen: the entries that get dispatchers.
        rules: by entry.
        outlook: all that as a plan to show.
        options: what the user chose.
    """

    subject: Subject
    source: Module
    library: Library
    description: Description
    chosen: Redirects
    rules: Mapping[int, Rule]
    outlook: DrainOutlook
    options: Options


def look(
    subject: Subject, source: Module, library: Library, description: Description, options: Options
) -> Work:
    """Make the plan for one process."""
    old = source.facts
    names = {
        at: known for at, known in _names(old).items() if not _rule(description, known).private
    }
    all_found = redirects_by_name_of(old, library)
    found = tuple(r for r in all_found.redirects if r.old in names)
    chosen = Redirects(found, (), (), ())
    rules = {r.old: _rule(description, names[r.old]) for r in found}
    left = {at: (n, _rule(description, n)) for at, n in names.items() if at not in rules}
    imported = imported_by_others(subject, source)
    findings = (
        *_described(description, names, rules),
        *_unfit(source, description, imported),
        *left_out(subject, source, left, all_found.findings, imported),
        *_chosen_by_resolvers(old, description),
        *hooked(subject.memory, source, chosen, frozenset()),
        *_patched(subject, source),
        *_data(subject, source, description, options),
    )
    outlook = DrainOutlook(
        source.path, old.build_id, library.build_id, description.name,
        dict(sorted(Counter(_kind(rules[r.old]) for r in found).items())),
        tuple(_entry(r, rules[r.old]) for r in found), findings,
    )  # fmt: skip
    return Work(subject, source, library, description, chosen, rules, outlook, options)


@remembered
def redirects_by_name_of(old: Library, new: Library) -> Redirects:
    """The entries that can have a gate, of functions with a name: no other takes a handle."""
    return fitting(old, new, pairing_by_name_of(old, new))


def _names(old: Library) -> dict[int, list[str]]:
    """The exported functions, each with all of its names."""
    found: dict[int, list[str]] = defaultdict(list)
    for name, symbol in old.exported.items():
        if symbol.type == SymbolType.FUNC:
            found[symbol.value].append(name.name)
    return found


def _rule(description: Description, names: list[str]) -> Rule:
    known = (description.rule_for(name) for name in names)
    return next((rule for rule in known if rule is not None), ASK_ALL)


def _kind(rule: Rule) -> str:
    return "unknown" if rule is ASK_ALL else rule.kind


def _entry(redirect: Redirect, rule: Rule) -> DrainEntry:
    by = ("any argument",) if rule is ASK_ALL else tuple(map(str, rule.by))
    return DrainEntry(redirect.name, _kind(rule), by)


def _described(
    description: Description, names: Mapping[int, list[str]], rules: Mapping[int, Rule]
) -> Iterator[Finding]:
    unknown = sorted(names[at][0] for at, rule in rules.items() if rule is ASK_ALL)
    if unknown:
        detail = (
            "not described: each of their first six arguments is asked for; what they make of a"
            " new object would be taken for an old one"
        )
        yield risk("drain-undescribed", _listed(unknown), detail, "describe them (--handles FILE)")
    if description.risk:
        yield risk("drain-risk", description.name, description.risk, _CLEAR)
    if not any((rule.by or description.values) and rule is not ASK_ALL for rule in rules.values()):
        detail = f"no function of it is one of those that {description.name} describes"
        yield refuse("drain-nothing", description.name, detail, "another description")


def imported_by_others(subject: Subject, source: Module) -> frozenset[str]:
    """What other modules of the process can call by name."""
    return frozenset(
        s.name
        for m in subject.modules if m.library is not None and m.base != source.base
        for s in m.facts.symbols if not s.defined
    )  # fmt: skip


def _unfit(source: Module, description: Description, imported: frozenset[str]) -> Iterator[Finding]:
    """Uses of the library that do not go together with two copies of it."""
    exported = {name.name for name in source.facts.exported}
    if imported.isdisjoint(exported) and (names := description.unfit_among(frozenset(exported))):
        detail = "the program has looked up by name what it uses, which may be among it"
        yield risk("drain-unfit", _listed(sorted(names)), detail, _CLEAR)
    names = description.unfit_among(imported)
    if names:
        detail = "in use: objects of both copies would meet there, or come from there unseen"
        yield risk("drain-unfit", _listed(sorted(names)), detail, _CLEAR)


def _chosen_by_resolvers(old: Library, description: Description) -> Iterator[Finding]:
    names = sorted(n.name for n, s in old.exported.items() if s.type == SymbolType.GNU_IFUNC)
    handled = [n for n in names if (rule := description.rule_for(n)) and (rule.by or rule.gives)]
    if handled:
        detail = "a resolver chooses between several functions, whose entries are not known"
        yield refuse("drain-ifunc", _listed(handled), detail)


def _patched(subject: Subject, source: Module) -> Iterator[Finding]:
    for patch in subject.record.patches:
        if patch.active and patch.base == source.base:
            instead = f"libswap patch revert {subject.identity.pid} --id {patch.id}"
            yield refuse("patched", patch.id, "a function patch is in force", instead)


def _data(
    subject: Subject, source: Module, description: Description, options: Options
) -> Iterator[Finding]:
    """Each copy has data of its own: what was set in the old one is not in the new one."""
    names = changed(subject.memory, source, subject.modules)
    if not names:
        return
    shown = _listed(list(names))
    if description.fresh or options.state == "fresh":
        yield note("drain-data", shown, "changed in the old copy; the new one has its own")
    else:
        detail = "changed since the library was loaded; the new copy would begin without it"
        yield risk("drain-data", shown, detail, "--state fresh if it may begin anew")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
