"""Exported functions whose entry cannot lead elsewhere, or has nowhere to lead to."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from libswap.linux.memory import Range
from libswap.live.draining.handles import Rule
from libswap.live.findings import Finding, note, refuse, risk
from libswap.live.module import Module
from libswap.live.outlook import copies_and_areas
from libswap.live.reach import reach
from libswap.live.stacks import Areas
from libswap.live.subject import Subject

_MISSING = "not in the new library"


def left_out(
    subject: Subject, source: Module, left: Mapping[int, tuple[list[str], Rule]],
    findings: Sequence[Finding], imported: frozenset[str],
) -> Iterator[Finding]:  # fmt: skip
    """What it means for a drain that they go on to run in the old copy.

    Args:
        subject: the process.
        source: the copy in use.
        left: address of each that has no dispatcher -> its names and its rule.
        findings: why entries cannot be changed.
        imported: what other modules call by name.
    """
    why = {f.subject.split("@")[0]: f.detail for f in findings if f.word.startswith("entry-")}
    missing: dict[int, str] = {}
    for at, (names, rule) in left.items():
        fixed = next((why[name] for name in names if name in why), "")
        detail = fixed or _MISSING
        if not (rule.by or rule.gives):
            yield note("drain-entry", names[0], f"the old one goes on to run: {detail}")
        elif fixed or not imported.isdisjoint(names):
            yield refuse("drain-entry", names[0], f"it takes objects of both copies, and {detail}")
        else:
            missing[at] = names[0]
    yield from _missing(subject, source, missing)


def _missing(subject: Subject, source: Module, functions: Mapping[int, str]) -> Iterator[Finding]:
    """Those that nothing imports; but a word may hold the address that dlsym(3) gave."""
    held = _held(subject, source, functions) if functions else frozenset()
    for at, name in functions.items():
        if at in held:
            detail = f"it takes objects of both copies, is {_MISSING}, and memory holds its address"
            yield risk("drain-entry", name, detail, "a restart of the process")
        else:
            yield note("drain-entry", name, f"nothing calls it: {_MISSING}")


def _held(subject: Subject, source: Module, functions: Collection[int]) -> frozenset[int]:
    """Those whose address some word outside of the library holds; all, where that is not known."""
    wanted = Areas(Range(source.base + at, source.base + at + 1) for at in functions)
    skip = copies_and_areas(subject, source)
    found = reach(subject.memory, subject.mappings, subject.memory.tid, wanted, skip)
    if not found.complete:
        return frozenset(functions)
    return frozenset(hit.value - source.base for hit in found.words)
