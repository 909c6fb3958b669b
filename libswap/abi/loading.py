"""Rules on how a library is loaded: thread-local storage, protection, unloading, instructions."""

from collections.abc import Iterator
from typing import Final

from libswap.abi import catalogue
from libswap.abi.finding import Finding
from libswap.elf.library import Library, Relro
from libswap.elf.notes import X86_FEATURE_1_IBT, X86_FEATURE_1_SHSTK

_CET: Final = {X86_FEATURE_1_IBT: "IBT", X86_FEATURE_1_SHSTK: "shadow stack"}


def tls(old: Library, new: Library) -> Iterator[Finding]:
    """The TLS model and the size of the block."""
    if new.tls is None:
        return
    size = old.tls.size if old.tls else 0
    was, now = f"{size} bytes", f"{new.tls.size} bytes"
    if new.tls.static and not (old.tls and old.tls.static):
        yield catalogue.TLS_STATIC.finding("", "dynamic TLS" if old.tls else "no TLS", now)
    elif new.tls.static and new.tls.size > size:
        yield catalogue.TLS_STATIC_GREW.finding("", was, now)
    elif new.tls.size != size:
        yield catalogue.TLS_SIZE.finding("", was, now)


def executable_stack(old: Library, new: Library) -> Iterator[Finding]:
    """PT_GNU_STACK."""
    if new.executable_stack and not old.executable_stack:
        yield catalogue.EXECUTABLE_STACK.finding("", "stack not executable", "executable")


def text_relocations(old: Library, new: Library) -> Iterator[Finding]:
    """DT_TEXTREL."""
    if new.text_relocations and not old.text_relocations:
        yield catalogue.TEXT_RELOCATIONS.finding("", "none", "text relocations")


def relro(old: Library, new: Library) -> Iterator[Finding]:
    """PT_GNU_RELRO; what only DT_BIND_NOW takes away is told by `bind_now`."""
    if new.relro is Relro.NONE and old.relro is not Relro.NONE:
        yield catalogue.RELRO_LOST.finding("", f"{old.relro.value} RELRO", "none")


def bind_now(old: Library, new: Library) -> Iterator[Finding]:
    """DT_BIND_NOW."""
    if old.bind_now and not new.bind_now:
        yield catalogue.BIND_NOW_LOST.finding("", "bound at start", "bound lazily")
    elif new.bind_now and not old.bind_now:
        yield catalogue.BIND_NOW_GAINED.finding("", "bound lazily", "bound at start")


def symbolic(old: Library, new: Library) -> Iterator[Finding]:
    """DT_SYMBOLIC (-Bsymbolic): whose definitions the library's own references find."""
    if old.symbolic != new.symbolic:
        words = {True: "its own definitions first", False: "the program's definitions first"}
        yield catalogue.SYMBOLIC.finding("", words[old.symbolic], words[new.symbolic])


def unloading(old: Library, new: Library) -> Iterator[Finding]:
    """DF_1_NODELETE and DF_1_NOOPEN."""
    if new.no_delete and not old.no_delete:
        yield catalogue.NO_DELETE_GAINED.finding("", "can be unloaded", "NODELETE")
    elif old.no_delete and not new.no_delete:
        yield catalogue.NO_DELETE_LOST.finding("", "NODELETE", "can be unloaded")
    if new.no_open and not old.no_open:
        yield catalogue.NO_OPEN.finding("", "can be opened", "NOOPEN")


def control_flow(old: Library, new: Library) -> Iterator[Finding]:
    """The CET features IBT and SHSTK of x86."""
    for bit, name in _CET.items():
        if old.x86.features & bit and not new.x86.features & bit:
            yield catalogue.CET_LOST.finding(name, "supported", "not supported")


def instructions(old: Library, new: Library) -> Iterator[Finding]:
    """The x86-64 level whose instructions the file needs."""
    was, now = old.x86.isa_needed.bit_length(), new.x86.isa_needed.bit_length()
    if now > max(was, 1):
        yield catalogue.ISA_RAISED.finding("", _level(was), _level(now))


def _level(number: int) -> str:
    return f"x86-64-v{number}" if number > 1 else "x86-64"
