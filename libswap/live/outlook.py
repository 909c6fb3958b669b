"""What a swap of one process would do, found out without touching it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from libswap.errors import NotSwappable
from libswap.live import gate, state
from libswap.live.entries import Entries
from libswap.live.findings import Finding, Severity, note, refuse, risk
from libswap.live.got import copied_objects, slots
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.pairing import Pairing, pair
from libswap.live.plan import hooked
from libswap.live.redirect import Redirects, redirects
from libswap.live.runtime import is_c_library
from libswap.live.subject import Subject

_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose.

    Attributes:
        state: "auto", "carry" or "fresh".
        relaxed: let running calls end in the old code.
        force: go on in spite of risks.
        wait: seconds to wait for a safe moment.
        constructors: seconds that the new library's constructors may take.
    """

    state: str = "auto"
    relaxed: bool = False
    force: bool = False
    wait: float = 5.0
    constructors: float = 10.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """The plan for one process.

    Attributes:
        library: path of the library as the process knows it.
        old: build id of the copy in use.
        new: build id of the copy to be used.
        modules: how many words of which module lead to the library.
        redirects: how many functions get a jump at their entry.
        state: names of the objects that are carried over.
        findings: what stands in the way, or should be known.
    """

    library: str
    old: str
    new: str
    modules: dict[str, int]
    redirects: int
    state: tuple[str, ...]
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
        pairing: of the two files.
        redirects: entries of the source that get gates.
        survey: what there is to carry.
        elsewhere: objects of the library that live in the main program.
        outlook: all that as a plan to show.
        options: what the user chose.
    """

    subject: Subject
    source: Module
    library: Library
    pairing: Pairing
    redirects: Redirects
    survey: state.Survey
    elsewhere: frozenset[str]
    outlook: Outlook
    options: Options


# The facts of two files are the same for every process that maps them.
pairing_of = cache(pair)
entries_of = cache(Entries)


@cache
def redirects_of(old: Library, new: Library) -> Redirects:
    """The entries to redirect, less those that cannot have a gate."""
    return gated(old, redirects(old, pairing_of(old, new), entries_of(old)))


def gated(old: Library, found: Redirects) -> Redirects:
    """Leave out entries whose first instructions cannot be moved, with a finding."""
    reasons = gate.unmovable(old, found.redirects)
    findings = [
        risk("entry-immovable", r.name, reasons[r.old])
        for r in found.redirects if r.old in reasons
    ]  # fmt: skip
    kept = tuple(r for r in found.redirects if r.old not in reasons)
    return replace(found, redirects=kept, findings=(*found.findings, *findings))


def look(subject: Subject, source: Module, library: Library, options: Options) -> Work:
    """Make the plan for one process.

    Raises:
        NotSwappable: the library is of a kind that no process can be moved from or to.
    """
    _check(source, library)
    pairing, found = pairing_of(source.facts, library), redirects_of(source.facts, library)
    elsewhere = _elsewhere(subject, source)
    survey = state.survey(subject.memory, source, library, pairing, options.state)
    findings = (
        *pairing.findings,
        *found.findings,
        *survey.findings,
        *hooked(subject.memory, source, found),
        *_resized_elsewhere(subject, source, library, elsewhere),
        *_old_code_stays(found.kept),
    )
    outlook = Outlook(
        library=source.path,
        old=source.facts.build_id,
        new=library.build_id,
        modules=_reached(subject, source),
        redirects=len(found.redirects),
        state=tuple(p.name for p in survey.pairs),
        findings=findings,
    )
    return Work(subject, source, library, pairing, found, survey, elsewhere, outlook, options)


def refused(findings: Sequence[Finding]) -> NotSwappable:
    """The error that says why a process is left alone."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more; --dry-run shows all)" if len(findings) > 1 else ""
    instead = first.instead + ("" if first.severity is Severity.REFUSE else ", or --force")
    return NotSwappable(first.word, f"{first.subject}: {first.detail}{more}", instead)


def _check(source: Module, library: Library) -> None:
    if is_c_library(source):
        raise NotSwappable(
            "c-library",
            f"{source.path} is the C library or a part of it, on which everything depends that"
            " happens while it would be changed",
            "restart the process",
        )
    if {"malloc", "free"} & {n.name for n in source.facts.exported}:
        raise NotSwappable(
            "allocator",
            f"{source.path} is a memory allocator: what the old one gave out, the new one cannot"
            " take back",
            "restart the process",
        )
    old, new = source.facts.image.header, library.image.header
    if (old.machine, old.bits) != (new.machine, new.bits):
        raise NotSwappable(
            "other-machine",
            f"the new library is for {new.machine_name}, {new.bits}-bit",
            "install a build for this machine",
        )
    if library.is_program:
        raise NotSwappable("program", "the new file is a program and no library", "")


def _elsewhere(subject: Subject, source: Module) -> frozenset[str]:
    main = subject.modules[0]
    if main.library is None or source.link.namespace:
        return frozenset()
    return copied_objects(main) & {n.name for n in source.facts.exported}


def _resized_elsewhere(
    subject: Subject, source: Module, library: Library, names: frozenset[str]
) -> Iterator[Finding]:
    new = {n.name: s.size for n, s in library.exported.items()}
    for name, symbol in source.facts.exported.items():
        if name.name in names and new.get(name.name, symbol.size) != symbol.size:
            detail = (
                f"{symbol.size} bytes in {subject.modules[0].path}, which holds it,"
                f" {new[name.name]} in the new library"
            )
            yield refuse("copy-resized", str(name), detail, "rebuild the program")


def _old_code_stays(kept: Sequence[tuple[int, str]]) -> Iterator[Finding]:
    if kept:
        names = ", ".join(label for _, label in kept[:_SHOWN])
        more = f" and {len(kept) - _SHOWN} more" if len(kept) > _SHOWN else ""
        yield note("old-code-stays", names + more, "a pointer saved before goes on to reach it")


def _reached(subject: Subject, source: Module) -> dict[str, int]:
    found = {}
    for module in subject.modules:
        if module.library is not None and module.base != source.base:
            count = len(slots(subject.memory, module, [source.extent]))
            if count:
                found[module.path] = count
    return found
