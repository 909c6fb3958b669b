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

from libswap.elf.dynamic import Tag
from libswap.elf.relocations import X86_64
from libswap.elf.symbols import Binding, SymbolType
from libswap.linux.memory import Memory, Range
from libswap.live.entries import JUMP_SIZE
from libswap.live.findings import Finding, refuse, risk
from libswap.live.gate import Area, Gate
from libswap.live.got import Slot, read_words, slots
from libswap.live.library import Library, Name
from libswap.live.module import Module
from libswap.live.pairing import Pairing
from libswap.live.quiescence import Forbidden
from libswap.live.redirect import Redirects, code_ranges
from libswap.live.state import Exchange
from libswap.live.transaction import Copy, Phase, Write

_MASK: Final = (1 << 64) - 1
_SYMBOL_SIZE: Final = 24
_VALUE_IN_SYMBOL: Final = 8
_MOST_DYNAMIC: Final = 4096
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
class Places:
    """Words that are to be changed, with what they hold and will hold.

    Attributes:
        writes: all of them.
        findings: what could not be led to the new library.
    """

    writes: tuple[Write, ...]
    findings: tuple[Finding, ...] = ()


def word(address: int, old: int, new: int) -> Write:
    """The change of one 8-byte word."""
    return Write(address, struct.pack("<Q", old & _MASK), struct.pack("<Q", new & _MASK))


@dataclass(frozen=True, slots=True)
class Leading:
    """Where the addresses in one copy lead in the copy to be used.

    Attributes:
        source: the copy.
        target: the copy to be used.
        by_name: exported name -> (address in the source, address in the target).
        entries: function entry -> function entry, absolute.
        gone: names that only the source exports.
    """

    source: Module
    target: Module
    by_name: Mapping[Name, tuple[int, int]]
    entries: Mapping[int, int]
    gone: frozenset[str]

    @classmethod
    def of(
        cls, source: Module, target: Module, pairing: Pairing,
        answers: Mapping[Name, tuple[int, int]],
    ) -> "Leading":  # fmt: skip
        """Bring a pairing of two files to the addresses of a process."""
        by_name = {
            f.name: (source.base + f.old, target.base + f.new)
            for f in pairing.forwards
            if not f.ifunc
        }
        entries = {source.base + a: target.base + b for a, b in pairing.functions.items()}
        entries |= {a: b for a, b in answers.values() if a in source.extent}
        gone = frozenset(n.name for n in pairing.gone)
        return cls(source, target, {**by_name, **answers}, entries, gone)

    def of_slot(self, slot: Slot) -> int | None:
        """What a slot that points into the source is to hold, None where nothing fits."""
        for name in (Name(slot.name, slot.version, ""), Name(slot.name, "", "")):
            if name in self.by_name:
                old, new = self.by_name[name]
                if old + slot.addend == slot.value:
                    return new + slot.addend
        if slot.value in self.entries:
            return self.entries[slot.value]
        return self._of_data(slot.value)

    def _of_data(self, value: int) -> int | None:
        """An exported object under another version than the one that was asked for."""
        return next((new for old, new in self.by_name.values() if old == value), None)


def slot_writes(memory: Memory, others: Iterable[Module], ways: Sequence[Leading]) -> Places:
    """The slots of other modules that point into any of the old copies."""
    writes: list[Write] = []
    gone: dict[str, str] = {}
    targets = [way.source.extent for way in ways]
    for module in others:
        if module.library is None:
            continue
        for slot in slots(memory, module, targets):
            way = next(w for w in ways if slot.value in w.source.extent)
            value = way.of_slot(slot)
            if value is not None:
                writes.append(word(slot.place, slot.value, value))
            elif slot.name:
                gone[slot.name] = slot.module
    if not gone:
        return Places(tuple(writes))
    names = ", ".join(sorted(gone)[:_SHOWN])
    found = refuse(
        "gone-in-use", names, f"used by {next(iter(gone.values()))}, not in the new library"
    )
    return Places(tuple(writes), (found,))


def own_slot_writes(memory: Memory, new: Module, ways: Sequence[Leading]) -> Places:
    """References of the new copy to its own exports that were bound to an older copy.

    The global scope comes first (ld.so(8)); a definition that a program or a preload interposes
    stays in force, for it lies in none of the copies. STB_GNU_UNIQUE objects are one for all.
    """
    library = new.facts
    by_name = {Name(s.name, s.version, ""): s for s in library.symbols if s.defined}
    answers = {
        old: to for way in ways for name, (old, to) in way.by_name.items()
        if name in by_name and by_name[name].type == SymbolType.GNU_IFUNC
    }  # fmt: skip
    writes = []
    for slot in slots(memory, new, [way.source.extent for way in ways]):
        symbol = by_name.get(Name(slot.name, slot.version, ""))
        if symbol is None or symbol.binding == Binding.GNU_UNIQUE:
            continue
        if symbol.type == SymbolType.GNU_IFUNC:
            value = answers.get(slot.value, slot.value)
        else:
            value = new.base + symbol.value + slot.addend
        writes.append(word(slot.place, slot.value, value))
    return Places(tuple(writes))


def symbol_writes(
    memory: Memory, side: Module, target: Module, pairing: Pairing, elsewhere: frozenset[str]
) -> tuple[Write, ...]:
    """Let the dynamic symbol table of an older copy give the addresses of the new one.

    What is bound later finds the older copy first: a lazy slot, dlsym(3), a module that is loaded
    tomorrow. l_addr + st_value wraps around in every dynamic linker, so that st_value can name any
    address. Copy-relocated objects keep theirs.
    """
    start = side.facts.dynamic.value(Tag.SYMTAB)
    forwards = [f for f in pairing.forwards if f.name.name not in elsewhere]
    if start is None or not forwards:
        return ()
    places = [side.base + start + f.index * _SYMBOL_SIZE + _VALUE_IN_SYMBOL for f in forwards]
    now = read_words(memory, places)
    return tuple(
        word(place, value, target.base + f.new - side.base)
        for place, value, f in zip(places, now, forwards, strict=True)
    )


def own_symbol_writes(memory: Memory, side: Module) -> tuple[Write, ...]:
    """Give a copy that is used again its own symbol table back."""
    start = side.facts.dynamic.value(Tag.SYMTAB)
    symbols = [(i, s) for i, s in enumerate(side.facts.symbols) if s.defined]
    if start is None or not symbols:
        return ()
    places = [side.base + start + i * _SYMBOL_SIZE + _VALUE_IN_SYMBOL for i, _ in symbols]
    now = read_words(memory, places)
    return tuple(
        word(place, value, symbol.value)
        for place, value, (_, symbol) in zip(places, now, symbols, strict=True)
        if value != symbol.value
    )


def end_writes(memory: Memory, side: Module, *, silent: bool) -> tuple[Write, ...]:
    """Whether a copy's destructors run when the process ends: those of the copy in use do.

    The first of DT_FINI_ARRAY is crtbegin's __do_global_dtors_aux, which is kept: it runs what
    __cxa_atexit registered for this copy before the copy can be unmapped.
    """
    keeps_first = any(n.name == "__cxa_finalize" for n in _wanted(side.facts))
    size = side.facts.dynamic.value(Tag.FINI_ARRAYSZ) or 0
    if not size:
        return ()
    wanted = min(size, 8 if keeps_first else 0) if silent else size
    for index in range(_MOST_DYNAMIC):
        place = side.link.dynamic + 16 * index
        tag, value = struct.unpack("<QQ", memory.read(place, 16))
        if tag == Tag.NULL:
            break
        if tag == Tag.FINI_ARRAYSZ:
            return () if value == wanted else (word(place + 8, value, wanted),)
    return ()


def tls_writes(memory: Memory, old: Module, new: Module) -> Places:
    """Let the new copy's code use the thread-local blocks that the threads have.

    Both files lay their variables out alike (see `pairing`), so that only the module id differs
    ("ELF Handling For Thread-Local Storage" by Drepper, section 4.4). The old copy may itself have
    been led to the blocks of one before it.
    """
    if old.facts.tls is None or new.facts.tls is None:
        return Places(())
    kinds = {r.type for r in new.facts.relocations} & _TLS_KINDS
    if X86_64.DTPMOD64 in kinds and kinds <= {X86_64.DTPMOD64, X86_64.DTPOFF64}:
        found = _dynamic_tls(memory, old, new)
    elif kinds == {X86_64.TPOFF64}:
        found = _static_tls(memory, old, new)
    else:
        found = None
    if found is None:
        detail = "the new library reaches them in a way that cannot be led to the old ones"
        return Places((), (refuse("tls-model", "TLS", detail),))
    return found


_TLS_KINDS: Final = {X86_64.DTPMOD64, X86_64.DTPOFF64, X86_64.TPOFF64, X86_64.TLSDESC}


def _dynamic_tls(memory: Memory, old: Module, new: Module) -> Places | None:
    """General and local dynamic: the module id, which is found in the old copy's own words."""
    ids = _own_module_ids(memory, old)
    if len(set(ids.values())) != 1:
        return None
    (live,) = set(ids.values())
    return Places(
        tuple(word(p, v, live) for p, v in _own_module_ids(memory, new).items() if v != live)
    )


def _own_module_ids(memory: Memory, module: Module) -> dict[int, int]:
    """Place -> module id, of the words that stand for the module's own variables."""
    symbols = module.facts.symbols
    places = sorted(
        module.base + r.offset for r in module.facts.relocations
        if r.type == X86_64.DTPMOD64 and (not r.symbol or symbols[r.symbol].defined)
    )  # fmt: skip
    return dict(zip(places, read_words(memory, places), strict=True))


def _static_tls(memory: Memory, old: Module, new: Module) -> Places | None:
    """Initial-exec: offsets from the thread pointer, where the old copy has them too."""
    offsets = [r for r in old.facts.relocations if r.type == X86_64.TPOFF64]
    if not offsets:
        return None
    sample = min(offsets)
    (value,) = read_words(memory, [old.base + sample.offset])
    block = value - _tls_offset(old.facts, sample.symbol, sample.addend)
    wanted = sorted(r for r in new.facts.relocations if r.type == X86_64.TPOFF64)
    now = read_words(memory, [new.base + r.offset for r in wanted])
    return Places(tuple(
        word(new.base + r.offset, v, block + _tls_offset(new.facts, r.symbol, r.addend))
        for r, v in zip(wanted, now, strict=True)
    ))  # fmt: skip


def _tls_offset(library: Library, symbol: int, addend: int) -> int:
    return addend + (library.symbols[symbol].value if symbol else 0)


def _wanted(library: Library) -> Iterator[Name]:
    return (Name(s.name, "", "") for s in library.symbols if not s.defined)


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


def hooked(memory: Memory, module: Module, redirects: Redirects) -> tuple[Finding, ...]:
    """Entries that somebody else has changed: a debugger, a tracer, another patcher."""
    names = []
    for start, text in module.facts.texts:
        now = memory.read(module.base + start, len(text))
        if now == text:
            continue
        for r in redirects.redirects:
            at = r.old - start
            if 0 <= at < len(text) and now[at : at + 5] != text[at : at + 5]:
                names.append(r.name)
    if not names:
        return ()
    detail = "its first bytes are not those of the file: a debugger or another patcher was here"
    return (risk("entry-hooked", ", ".join(names[:_SHOWN]), detail, "let them take it back"),)


def with_answers(pairing: Pairing, source: Module, target: Module,
                 answers: Mapping[Name, tuple[int, int]]) -> Pairing:  # fmt: skip
    """The pairing with the functions that IFUNC resolvers chose."""
    chosen = {
        old - source.base: new - target.base
        for old, new in answers.values()
        if old in source.extent and new in target.extent
    }
    labels = {old - source.base: str(n) for n, (old, _) in answers.items() if old in source.extent}
    return replace(
        pairing,
        functions={**chosen, **pairing.functions},
        labels={**labels, **pairing.labels},
    )
