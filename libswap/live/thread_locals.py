"""Thread-local variables: the new copy's code uses the blocks that the threads have."""

from typing import Final

from libswap.elf.relocations import X86_64
from libswap.linux.memory import Memory
from libswap.live.findings import refuse
from libswap.live.got import read_words
from libswap.live.leading import Places, word
from libswap.live.library import Library
from libswap.live.module import Module

_TLS_KINDS: Final = {X86_64.DTPMOD64, X86_64.DTPOFF64, X86_64.TPOFF64, X86_64.TLSDESC}


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
