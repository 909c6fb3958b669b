"""Every write of a swap, computed before the process is stopped.

Two commits. The first gives every entry of the copy in use a gate, exchanges the state, and turns
the gates' word: that one write is the swap. Then it leads the symbol table and the slots to the
new copy. The second commit makes the entries jump straight to the new functions; nothing but their
speed depends on it. Every prefix of both runs correctly.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from libswap.linux.memory import Memory, Range
from libswap.live.entries import JUMP_SIZE
from libswap.live.findings import Finding, risk
from libswap.live.gate import Area, Gate
from libswap.live.module import Module
from libswap.live.quiescence import Forbidden
from libswap.live.redirect import Redirects, code_ranges
from libswap.live.state import Exchange
from libswap.live.writing import Copy, Phase, Write

_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Side:
    """One copy of the library that takes part.

    Attributes:
        module: where it is loaded.
        gates: its entries that lead elsewhere since an earlier swap, by address.
        word: address of the word of those gates, 0 where it has none.
    """

    module: Module
    gates: Mapping[int, Gate] = field(default_factory=dict)
    word: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One library's part in the first commit.

    Attributes:
        target: the copy to be used.
        area: the gates of the copy in use; new contents are in the process with the word 0.
        targets: entry of the copy in use -> the function of the target.
        ahead: words that only the target's own code looks at, which does not run yet.
        places: symbol tables, slots and destructors.
    """

    target: Side
    area: Area
    targets: Mapping[int, int]
    ahead: Sequence[Write]
    places: Sequence[Write]


def switching(
    memory: Memory, turns: Sequence[Turn], state: Sequence[Exchange], followers: Sequence[Copy]
) -> tuple[Phase, ...]:
    """The phases of the first commit.

    The words of all libraries lie side by side: they are turned by one write.

    Args:
        memory: of the process.
        turns: the libraries.
        state: what the copies exchange.
        followers: words elsewhere that point to what is exchanged.
    """
    gates = [g for t in turns for g in t.area.gates.values() if g.entry in t.targets]
    aimed = [
        _aimed(memory, g, first[g.entry])
        for t in turns if not t.area.contents
        for first in [inner_targets(t.target, t.targets)]
        for g in t.area.gates.values() if g.entry in t.targets
    ]  # fmt: skip
    carried: list[Write | Copy] = [e.carry() for e in state]
    phases: list[Sequence[Write | Copy]] = [
        aimed,
        [Write(g.entry, g.original, g.closed) for g in gates],
        carried,
        [write for t in turns for write in t.ahead],
        [Write(t.area.word, bytes(4), b"\1\0\0\0") for t in turns],
        *after_the_turn(memory, [replace(t, ahead=()) for t in turns]),
        followers,
        [e.give_back() for e in state],
    ]
    return tuple(tuple(phase) for phase in phases if phase)


def after_the_turn(memory: Memory, turns: Sequence[Turn]) -> tuple[Sequence[Write], ...]:
    """What follows the write that is the swap: who is used again gets its entries back."""
    targets = [t.target for t in turns]
    again = [
        Write(g.entry, memory.read(g.entry, JUMP_SIZE), g.original)
        for t in targets for g in t.gates.values()
    ]  # fmt: skip
    reset = [Write(t.word, memory.read(t.word, 4), bytes(4)) for t in targets if t.word]
    return again, reset, [write for turn in turns for write in (*turn.ahead, *turn.places)]


def settling(
    memory: Memory, ways: Iterable[tuple[Mapping[int, Gate], Mapping[int, int]]]
) -> tuple[Phase, ...]:
    """The phases of the second commit: every entry straight to its function in the new copy.

    Args:
        memory: of the process, after the first commit.
        ways: for each copy that is not in use its gates, and what its entries are to lead to.
    """
    found = [
        write
        for gates, leads in ways
        for gate in gates.values()
        if gate.entry in leads
        for write in _led_on(memory, gate, leads[gate.entry])
    ]
    return (tuple(found),) if found else ()


def inner_targets(target: Side, targets: Mapping[int, int]) -> dict[int, int]:
    """Where the gates lead until the target's own entries are given back: behind its gates."""
    return {
        entry: target.gates[to].first if to in target.gates else to for entry, to in targets.items()
    }


def _aimed(memory: Memory, gate: Gate, target: int) -> Write:
    return Write(gate.target, memory.read(gate.target, 8), struct.pack("<Q", target))


def _led_on(memory: Memory, gate: Gate, target: int) -> Iterator[Write]:
    yield _aimed(memory, gate, target)
    yield Write(gate.entry, memory.read(gate.entry, JUMP_SIZE), gate.open(target))


def forbidden_code(source: Module, redirects: Redirects, *, relaxed: bool) -> tuple[Forbidden, ...]:
    """Where no thread may be: in the old library at all, or in what cannot end in peace."""
    if not relaxed:
        labels = {r.old: r.name for r in redirects.redirects}
        return tuple(_named_code(source, labels))
    return tuple(
        Forbidden(Range(source.base + r.start, source.base + r.end), f"code at {r.start:#x}")
        for r in redirects.unsafe
    )


def _named_code(source: Module, labels: Mapping[int, str]) -> Iterator[Forbidden]:
    name = source.path.rpartition("/")[2]
    for code in code_ranges(source.facts):
        starts = sorted(a for a in labels if code.start <= a < code.end)
        edges = [code.start, *starts, code.end]
        for start, end in pairwise(edges):
            if start < end:
                label = f"{labels[start]} of {name}" if start in labels else name
                yield Forbidden(Range(source.base + start - (start not in labels),
                                      source.base + end), label)  # fmt: skip


def hooked(
    memory: Memory, module: Module, redirects: Redirects, ours: frozenset[int]
) -> tuple[Finding, ...]:
    """Entries that somebody else has changed: a debugger, a tracer, another patcher.

    Args:
        memory: of the process.
        module: the library.
        redirects: its entries.
        ours: addresses of entries that function patches of libswap have changed.
    """
    names = []
    for start, text in module.facts.texts:
        now = memory.read(module.base + start, len(text))
        if now == text:
            continue
        for r in redirects.redirects:
            at = r.old - start
            if module.base + r.old in ours:
                continue
            if 0 <= at < len(text) and now[at : at + 5] != text[at : at + 5]:
                names.append(r.name)
    if not names:
        return ()
    detail = "its first bytes are not those of the file: a debugger or another patcher was here"
    return (risk("entry-hooked", ", ".join(names[:_SHOWN]), detail, "let them take it back"),)
