"""What a swap of one process would do, found out without touching it."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from libswap.errors.live import NotSwappable
from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import Memory, Range
from libswap.live import gate
from libswap.live.copies import path_of
from libswap.live.crtbegin import own_data
from libswap.live.entries import Entries
from libswap.live.findings import Finding, Severity, note, refuse, risk
from libswap.live.got import copied_objects, slots
from libswap.live.lasting import data_of, state_of_old_code
from libswap.live.library import Library
from libswap.live.module import Module
from libswap.live.pairing import ObjectPair, Pairing, pair, pair_by_name
from libswap.live.plan import hooked
from libswap.live.reach import Reach, is_return_address, reach
from libswap.live.redirect import Redirects, code_ranges, redirects
from libswap.live.runtime import is_c_library
from libswap.live.stacks import Areas, Hit
from libswap.live.subject import Subject
from libswap.live.survey import Survey, as_a_whole, survey_of
from libswap.live.thread_stacks import thread_stacks
from libswap.live.writable import without

_SHOWN: Final = 6
_EF_CXA: Final = 4
_DEBUG_SYMBOLS: Final = "install the library's debug symbols (-dbgsym)"
_UNTIL_THEY_END: Final = (
    "leave old objects to the code that made them (--drain), install the library's debug symbols"
    " (-dbgsym), or restart the process"
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose.

    Attributes:
        state: "auto", "carry" or "fresh".
        relaxed: let running calls end in the old code.
        force: go on in spite of risks.
        accept_unknown: go on where it is not known whether live objects survive.
        wait: seconds to wait for a safe moment.
        constructors: seconds that the new library's constructors may take.
    """

    state: str = "auto"
    relaxed: bool = False
    force: bool = False
    accept_unknown: bool = False
    wait: float = 5.0
    constructors: float = 10.0


@dataclass(frozen=True, slots=True)
class Proven:
    """What no symbol names, and goes along because the machine code proves what it is.

    Attributes:
        stretches: pieces of data.
        bytes: of them.
        witnesses: instructions and pointers that name them and are the same in both files.
        functions: that get a jump at their entry.
    """

    stretches: int = 0
    bytes: int = 0
    witnesses: int = 0
    functions: int = 0


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
        pointers: how many words elsewhere point to them, and will follow.
        findings: what stands in the way, or should be known.
        proven: what of all this has no name.
    """

    library: str
    old: str
    new: str
    modules: dict[str, int]
    redirects: int
    state: tuple[str, ...]
    pointers: int
    findings: tuple[Finding, ...]
    proven: Proven = Proven()

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
    survey: Survey
    elsewhere: frozenset[str]
    outlook: Outlook
    options: Options


# The facts of two files are the same for every process that maps them. A library is an open file:
# only so many stay in memory as one swap goes through in turn.
remembered = lru_cache(maxsize=32)
pairing_of = remembered(pair)
pairing_by_name_of = remembered(pair_by_name)
entries_of = remembered(Entries)


@remembered
def redirects_of(old: Library, new: Library) -> Redirects:
    """The entries to redirect, less those that cannot have a gate."""
    return fitting(old, new, pairing_of(old, new))


@remembered
def data_of_old_code(old: Library, new: Library) -> Mapping[int, tuple[Range, ...]]:
    """Functions that run again in the old copy, if only for an object, and what data they name."""
    kept = [at for at, _ in redirects_of(old, new).kept]
    return data_of(entries_of(old), kept, pairing_of(old, new))


def fitting(old: Library, new: Library, pairing: Pairing) -> Redirects:
    """Likewise by a pairing; without functions that have no name where these stand in the way."""
    entries = entries_of(old), entries_of(new)
    found = gated(old, redirects(old, pairing, *entries))
    risks = _risks(found)
    if not risks or not pairing.unnamed:
        return found
    named = {a: b for a, b in pairing.functions.items() if a not in pairing.unnamed}
    fewer = gated(old, redirects(old, replace(pairing, functions=named), *entries))
    return fewer if _risks(fewer) < risks else found


def _risks(found: Redirects) -> int:
    return sum(f.severity is not Severity.NOTE for f in found.findings)


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
    require_possible(source, library)
    pairing, found = pairing_of(source.facts, library), redirects_of(source.facts, library)
    elsewhere = _elsewhere(subject, source)
    used = _used_by_old_code(source.facts, library, options.state)
    survey = survey_of(
        subject.memory, source, library, pairing, modules=subject.modules, mode=options.state,
        used=tuple(part for parts in used.values() for part in parts),
    )  # fmt: skip
    old_code = tuple(_state_of_old_code(found.kept, pairing, used))
    if old_code and not survey.stirred and not options.force:
        # It is no risk as long as nobody has used that data.
        survey = replace(survey, still=(*survey.still, *survey.untouched))
    found_words = words_into(subject, source, survey.pairs)
    findings = (
        *pairing.findings,
        *found.findings,
        *_earlier_callers(subject, source, library),
        *survey.findings,
        *hooked(subject.memory, source, found, _patched_entries(subject)),
        *_patched(subject, source),
        *_resized_elsewhere(subject, source, library, elsewhere),
        *_old_code_stays(found.kept),
        *(old_code if survey.stirred else ()),
        *_asleep(subject, source, found_words, options),
    )
    outlook = Outlook(
        library=path_of(subject.record, source),
        old=source.facts.build_id,
        new=library.build_id,
        modules=_reached(subject, source),
        redirects=len(found.redirects),
        state=tuple(p.name for p in survey.pairs),
        pointers=len(into_data(subject.memory, source, found_words)),
        findings=findings,
        proven=_proven(pairing, found, survey.pairs),
    )
    return Work(subject, source, library, pairing, found, survey, elsewhere, outlook, options)


def words_into(
    subject: Subject, source: Module, pairs: Sequence[ObjectPair], skip: Sequence[Module] = ()
) -> Reach:
    """Words outside of the library's copies that point to its objects or into its code.

    What equals the address of something to which nobody has a pointer is a number or text: a short
    string where a pointer was before leaves the upper bytes as they were.
    """
    data = without((Range(p.old, p.old + p.size) for p in pairs), own_data(source.facts))
    objects = [Range(source.base + d.start, source.base + d.end) for d in data]
    code = [Range(source.base + c.start, source.base + c.end) for c in code_ranges(source.facts)]
    family = [*copies_and_areas(subject, source), *(m.extent for m in skip)]
    wanted = Areas([*objects, *code])
    return reach(subject.memory, subject.mappings, subject.memory.tid, wanted, family)


def into_data(memory: Memory, source: Module, found: Reach) -> list[Hit]:
    """Those of the words that point to objects and should follow them.

    What is registered for the process's exit stays: each copy's destructors run on its own objects.
    """
    code = [Range(source.base + c.start, source.base + c.end) for c in code_ranges(source.facts)]
    return [
        hit for hit in found.words
        if not any(hit.value in c for c in code) and not for_exit(memory, source.extent, hit.at)
    ]  # fmt: skip


def for_exit(memory: Memory, extent: Range, at: int) -> bool:
    """Whether a word is part of what __cxa_atexit noted: flavour 4, function, object, library.

    The function is mangled, so that it is no address (glibc, stdlib/exit.h; PTR_MANGLE).
    """
    try:
        words = struct.unpack("<5Q", memory.read(at - 24, 40))
    except MemoryUnreachable:
        return False
    as_object = words[1] == _EF_CXA and words[2] >> 47 and words[4] in extent
    as_library = words[0] == _EF_CXA and words[1] >> 47
    return bool(as_object or as_library)


def _earlier_callers(subject: Subject, source: Module, library: Library) -> Iterator[Finding]:
    """Code of copies in use before, whose calls will lead to the new library too."""
    index = subject.record.family_of(source.base)
    copies = subject.record.families[index].copies if index is not None else ()
    bases = {c.base for c in copies} - {source.base}
    for module in subject.modules:
        facts = module.library
        if module.base in bases and facts is not None and facts.build_id != library.build_id:
            found = redirects_of(facts, library).findings
            yield from (f for f in found if f.word == "internal-caller")


def copies_and_areas(subject: Subject, source: Module) -> list[Range]:
    """Where the library itself lies: every copy of it, and what libswap has put beside each."""
    record = subject.record
    index = record.family_of(source.base)
    copies = record.families[index].copies if index is not None else ()
    bases = {source.base} | {c.base for c in copies}
    extents = [m.extent for m in subject.modules if m.base in bases]
    return extents + [Range(c.area, c.area + c.area_size) for c in copies if c.area]


def _asleep(subject: Subject, source: Module, found: Reach, options: Options) -> Iterator[Finding]:
    """Return addresses into the library where no thread has its stack."""
    if not found.complete:
        yield note("memory-not-searched", "memory", "too large to be searched for pointers")
    code = [Range(source.base + c.start, source.base + c.end) for c in code_ranges(source.facts)]
    entries = {source.base + e for e in entries_of(source.facts).starts}
    # Those of threads are looked at when they stand still; what ended ones left is no frame.
    stacks = Areas(thread_stacks(subject.memory, subject.mappings))
    places = [
        hit for hit in found.words
        if any(hit.value in c for c in code) and hit.value not in entries
        and not stacks.find(hit.at)
        and is_return_address(subject.memory, hit.value)
    ]  # fmt: skip
    if places and not options.relaxed:
        detail = (
            f"{len(places)} words that look like return addresses into it, the first at"
            f" {places[0].at:#x}: a coroutine may sleep in the old code"
        )
        yield risk("asleep-in-old-code", source.path, detail, "let it finish, or --relaxed")


def require_clear(works: Sequence[Work]) -> None:
    """Make sure that nothing stands in the way of any library.

    Raises:
        NotSwappable: something does.
    """
    for work in works:
        stoppers = work.outlook.stoppers(force=work.options.force)
        if stoppers:
            raise refused(stoppers, work.outlook.library if len(works) > 1 else "")


def refused(findings: Sequence[Finding], library: str = "") -> NotSwappable:
    """The error that says why a process is left alone."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more; --dry-run shows all)" if len(findings) > 1 else ""
    final = any(f.severity is Severity.REFUSE for f in findings)
    instead = first.instead + ("" if final else ", or --force")
    of = f"{library}: " if library else ""
    return NotSwappable(first.word, f"{of}{first.subject}: {first.detail}{more}", instead)


def require_possible(source: Module, library: Library) -> None:
    """What no option helps against, and needs no look at the process.

    Raises:
        NotSwappable: one cannot ever stand in for the other.
    """
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


def _patched(subject: Subject, source: Module) -> Iterator[Finding]:
    """Function patches of the copy in use, which would no longer be in force."""
    patches = subject.place.record.patches if subject.place else ()
    for patch in patches:
        if patch.active and patch.base == source.base:
            names = ", ".join(e.label for e in patch.entries[:_SHOWN])
            detail = f"patch {patch.id} changes {names} in the old library, not in the new one"
            instead = f"libswap patch revert {subject.identity.pid} --id {patch.id}"
            yield risk("patched", names, detail, instead)


def _patched_entries(subject: Subject) -> frozenset[int]:
    patches = subject.place.record.patches if subject.place else ()
    return frozenset(e.address for p in patches if p.active for e in p.entries)


def _elsewhere(subject: Subject, source: Module) -> frozenset[str]:
    main = subject.modules[0]
    if main.library is None or source.link.namespace:
        return frozenset()
    return frozenset(copied_objects(main)) & {n.name for n in source.facts.exported}


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


def _used_by_old_code(old: Library, new: Library, mode: str) -> Mapping[int, tuple[Range, ...]]:
    """Where all data is carried as a whole: which old functions that go on use what of it."""
    return data_of_old_code(old, new) if mode == "carry" and as_a_whole(old, new) else {}


def _state_of_old_code(
    kept: Sequence[tuple[int, str]], pairing: Pairing, used: Mapping[int, object]
) -> Iterator[Finding]:
    if used:
        return state_of_old_code(kept, used.keys(), _UNTIL_THEY_END)
    return state_of_old_code(kept, frozenset(pairing.nameless.users), _DEBUG_SYMBOLS)


def _proven(pairing: Pairing, found: Redirects, carried: Sequence[ObjectPair]) -> Proven:
    places = {p.old for p in carried}
    stretches = [s for s in pairing.nameless.stretches if s.old in places]
    return Proven(
        len(stretches), sum(s.size for s in stretches), sum(s.witnesses for s in stretches),
        sum(r.old in pairing.unnamed for r in found.redirects),
    )  # fmt: skip


def _reached(subject: Subject, source: Module) -> dict[str, int]:
    found = {}
    for module in subject.modules:
        if module.library is not None and module.base != source.base:
            count = len(slots(subject.memory, module, [source.extent]))
            if count:
                found[module.path] = count
    return found
