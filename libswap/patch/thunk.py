"""Code between an old entry and a new function that keeps what old callers rely on.

    push   each register that a caller keeps a value in
    push   copies of the words on the stack that may be arguments
    call   new function
    ...    and back

It stands in the patch as one more object, with an unwind table entry of its own, so that exceptions
pass through it.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.elf.image import SectionType
from libswap.elf.instructions import decoder
from libswap.elf.relocatable import (
    Kind,
    ObjectRelocation,
    ObjectSection,
    Relocatable,
    SectionFlags,
)
from libswap.elf.symbols import Binding, Symbol, SymbolType, Visibility
from libswap.patch.findings import Finding, Severity
from libswap.patch.layout import UNWIND
from libswap.patch.patch import Patch, Replaced
from libswap.patch.registers import Callers, Registers, caller_saved, written
from libswap.patch.replace import Pair
from libswap.patch.stack_arguments import stack_arguments
from libswap.patch.target import Target

PREFIX: Final = "libswap thunk of "
_TEXT: Final = 1
_UNWIND: Final = 2
_CIE: Final = bytes.fromhex("14000000 00000000 01 7a5200 01 78 10 01 1b 0c0708 9001 0000")
_SHORT_ADVANCE: Final = 64
_UNDEFINED: Final = Symbol(
    name="", version="", default=True, library="", value=0, size=0, section=0,
    type=SymbolType.NOTYPE, binding=Binding.GLOBAL, visibility=Visibility.DEFAULT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thunks:
    """All of a patch.

    Attributes:
        code: an object with them.
        entries: name of a new function -> name of its thunk.
        findings: what they cannot keep.
    """

    code: Relocatable
    entries: Mapping[str, str]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Inside:
    """The code of a patch, for `registers.written`."""

    data: bytes
    places: frozenset[int]

    @classmethod
    def of(cls, patch: Patch) -> "_Inside":
        return cls(patch.regions[0].data, frozenset(f.place for f in patch.fixups))

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        return self.data[vaddr : vaddr + size] if vaddr >= 0 else b""

    def is_open(self, vaddr: int, size: int) -> bool:
        return any(at in self.places for at in range(vaddr, vaddr + size))


def thunks(target: Target, patch: Patch, pairs: Sequence[Pair]) -> Thunks:
    """The thunks that a patch needs; most need none.

    Args:
        target: with the old functions and their callers.
        patch: linked without thunks.
        pairs: what it replaces, in the order of `patch.replaced`.
    """
    callers, inside, made = Callers(target), _Inside.of(patch), _Builder()
    findings = []
    for pair, replaced in zip(pairs, patch.replaced, strict=True):
        left_alone = caller_saved() - written(target, replaced.vaddr, replaced.size)
        changed = left_alone & written(inside, *replaced.code) if left_alone else left_alone
        if not changed:
            continue
        relied = callers.rely_on(pair.old, changed)
        if relied.registers:
            size = 32 if relied.wide else 16
            words = stack_arguments(inside.bytes_at(*replaced.code), replaced.code[0])
            made.add(replaced, _thunk(relied.registers, size, words))
            findings.append(_note(replaced, relied.registers))
        if relied.wider:
            findings.append(_too_wide(replaced))
    return Thunks(made.object(), made.entries, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Code:
    """One thunk: its bytes, where its call's distance stands, and how the stack grows meanwhile."""

    text: bytes
    call: int
    frame: tuple[tuple[int, int], ...]


def _thunk(registers: Registers, vector_size: int, words: int) -> _Code:
    """Machine code by Intel SDM volume 2; the stack stays a multiple of 16 before the call."""
    general = sorted(r for r in registers if decoder().RegisterExt.is_gpr64(r))
    vectors = sorted(registers - set(general))
    room = vector_size * len(vectors)
    room += -(8 + 8 * len(general) + room + 8 * words) % 16
    text = bytearray()
    frame: list[tuple[int, int]] = []
    for register in general:
        text += _push(_number(register))
        frame.append((len(text), 8 + 8 * (len(frame) + 1)))
    grown = 8 + 8 * len(general) + room
    if room:
        text += b"\x48\x81\xec" + struct.pack("<i", room)
        frame.append((len(text), grown))
    text += b"".join(
        _vector(n, i * vector_size, vector_size, 0x11) for i, n in enumerate(map(_number, vectors))
    )
    for word in range(words):
        # rsp falls by a word each time, and so does the place that is copied.
        text += b"\xff\xb4\x24" + struct.pack("<i", 8 * words + grown - 8)
        frame.append((len(text), grown + 8 * (word + 1)))
    text += b"\xe8\0\0\0\0"
    call = len(text) - 4
    if words:
        text += b"\x48\x81\xc4" + struct.pack("<i", 8 * words)
        frame.append((len(text), grown))
    text += b"".join(
        _vector(n, i * vector_size, vector_size, 0x10) for i, n in enumerate(map(_number, vectors))
    )
    if room:
        text += b"\x48\x81\xc4" + struct.pack("<i", room)
        frame.append((len(text), 8 + 8 * len(general)))
    for left, register in enumerate(reversed(general)):
        text += _pop(_number(register))
        frame.append((len(text), 8 * (len(general) - left)))
    return _Code(bytes(text) + b"\xc3", call, tuple(frame))


def _push(number: int) -> bytes:
    return (b"\x41" if number >= 8 else b"") + bytes([0x50 + number % 8])


def _pop(number: int) -> bytes:
    return (b"\x41" if number >= 8 else b"") + bytes([0x58 + number % 8])


def _vector(number: int, place: int, size: int, opcode: int) -> bytes:
    """(v)movups between a vector register and place(%rsp)."""
    operands = bytes([opcode, 0x84 | number % 8 << 3, 0x24]) + struct.pack("<i", place)
    if size == 32:
        return bytes([0xC5, 0x7C if number >= 8 else 0xFC]) + operands
    return (b"\x44" if number >= 8 else b"") + b"\x0f" + operands


def _number(register: int) -> int:
    return int(decoder().RegisterExt.number(register))


def _note(replaced: Replaced, registers: Registers) -> Finding:
    names = ", ".join(map(_name, sorted(registers)))
    detail = (
        f"callers keep values in registers that the old function left alone ({names}); a call goes"
        " through a few instructions more, which preserve them"
    )
    return Finding(Severity.NOTE, "registers-kept", replaced.label, detail)


def _too_wide(replaced: Replaced) -> Finding:
    detail = "callers use 512-bit or mask registers, of which only 128 bits would be preserved"
    return Finding(
        Severity.RISK, "wide-registers-kept", replaced.label, detail, "replace the callers too"
    )


def _name(register: int) -> str:
    iced = decoder()
    names: dict[int, str] = {v: k for k, v in vars(iced.Register).items() if isinstance(v, int)}
    return names[register].lower().replace("zmm", "xmm")


@dataclass
class _Builder:
    """Thunks one behind the other, as an object."""

    text: bytearray = field(default_factory=bytearray)
    unwind: bytearray = field(default_factory=lambda: bytearray(_CIE))
    symbols: list[Symbol] = field(default_factory=lambda: [_symbol("", 0, 0, 0)])
    calls: list[ObjectRelocation] = field(default_factory=list)
    starts: list[ObjectRelocation] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)

    def add(self, replaced: Replaced, code: _Code) -> None:
        """Put one behind the others."""
        self.text += b"\xcc" * (-len(self.text) % 16)
        start = len(self.text)
        self.text += code.text
        name = PREFIX + replaced.by
        self.entries[replaced.by] = name
        self.symbols += [
            _symbol(name, start, len(code.text), _TEXT), _symbol(replaced.by, 0, 0, 0)
        ]  # fmt: skip
        callee, own = len(self.symbols) - 1, len(self.symbols) - 2
        self.calls.append(ObjectRelocation(start + code.call, Kind.PLT32, callee, -4))
        begin = len(self.unwind) + 8
        self.starts.append(ObjectRelocation(begin, Kind.PC32, own, 0))
        self.unwind += _entry(len(self.unwind), len(code.text), code.frame)

    def object(self) -> Relocatable:
        """All of them."""
        code = SectionFlags.ALLOC | SectionFlags.EXECINSTR
        text, table = bytes(self.text), bytes(self.unwind)
        sections = (
            ObjectSection(
                _TEXT, ".text", SectionType.PROGBITS, code, len(text), 16, text,
                tuple(self.calls), "",
            ),
            ObjectSection(
                _UNWIND, UNWIND, SectionType.PROGBITS, SectionFlags.ALLOC, len(table), 8, table,
                tuple(self.starts), "",
            ),
        )  # fmt: skip
        return Relocatable("", {s.index: s for s in sections}, tuple(self.symbols), "")


def _entry(at: int, size: int, frame: Sequence[tuple[int, int]]) -> bytes:
    """A frame description entry (LSB Core 5.0 section 10.6.1); its start is filled in later."""
    program = bytearray()
    place = 0
    for end, offset in frame:
        program += _advance(end - place) + b"\x0e" + _uleb(offset)  # DW_CFA_def_cfa_offset
        place = end
    body = struct.pack("<IiI", at + 4, 0, size) + b"\0" + program
    body += bytes(-(len(body) + 4) % 8)
    return struct.pack("<I", len(body)) + body


def _advance(delta: int) -> bytes:
    if delta < _SHORT_ADVANCE:
        return bytes([0x40 | delta])  # DW_CFA_advance_loc
    return b"\x03" + struct.pack("<H", delta)  # DW_CFA_advance_loc2


def _uleb(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(found) + bytes([value])


def _symbol(name: str, value: int, size: int, section: int) -> Symbol:
    kind = SymbolType.FUNC if section else SymbolType.NOTYPE
    return _UNDEFINED._replace(name=name, value=value, size=size, section=section, type=kind)
