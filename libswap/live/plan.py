"""Every write of a swap, computed before the process is stopped.

Two commits. The first gives every entry of the copy in use a gate, exchanges the state, and turns
the gates' word: that one write is the swap. Then it leads the symbol table and the slots to the
new copy. The second commit makes the entries jump straight to the new functions; nothing but their
speed depends on it. Every prefix of both runs correctly.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from libswap.live.transaction import Copy, Phase, Write

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


def switching(
    memory: Memory, *, target: Side, area: Area, targets: Mapping[int, int],
    places: Sequence[Write], state: Sequence[Exchange], followers: Sequence[Copy],
) -> tuple[Phase, ...]:  # fmt: skip
    """The phases of the first commit.

    Args:
        memory: of the process.
        target: the copy to be used.
        area: the gates of the copy in use; new contents are in the process with the word 0.
        targets: entry of the copy in use -> the function of the target.
        places: symbol tables, slots and destructors.
        state: what both exchange.
        followers: words elsewhere that point to what is exchanged.
    """
    gates = [g for g in area.gates.values() if g.entry in targets]
    first = inner_targets(target, targets)
    carried: list[Write | Copy] = [e.carry() for e in state]
    phases: list[Sequence[Write | Copy]] = [
        [] if area.contents else [_aimed(memory, g, first[g.entry]) for g in gates],
        [Write(g.entry, g.original, g.closed) for g in gates],
        carried,
        [Write(area.word, bytes(4), b"\1\0\0\0")],
        *after_the_turn(memory, target, places),
        followers,
        [e.give_back() for e in state],
    ]
    return tuple(tuple(phase) for phase in phases if phase)


def after_the_turn(
    memory: Memory, target: Side, places: Sequence[Write]
) -> tuple[Sequence[Write], ...]:
    """What follows the write that is the swap: a copy that is used again gets its entries back."""
    again = [Write(g.entry, memory.read(g.entry, JUMP_SIZE), g.original)
             for g in target.gates.values()]  # fmt: skip
    reset = [Write(target.word, memory.read(target.word, 4), bytes(4))] if target.word else []
    return again, reset, places


def settling(
    memory: Memory, gates: Mapping[int, Gate], ways: Sequence[tuple[Side, Mapping[int, int]]],
    targets: Mapping[int, int],
) -> tuple[Phase, ...]:  # fmt: skip
    """The phases of the second commit: every entry straight to its function in the new copy.

    Args:
        memory: of the process, after the first commit.
        gates: of the copy that was in use.
        ways: copies that were in use still earlier, with what their entries are to lead to.
        targets: entry of the copy that was in use -> the function of the one that is.
    """
    found = [
        write for g in gates.values() if g.entry in targets
        for write in _led_on(memory, g, targets[g.entry])
    ]  # fmt: skip
    for side, leads in ways:
        for gate in side.gates.values():
            if gate.entry in leads:
                found += _led_on(memory, gate, leads[gate.entry])
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
