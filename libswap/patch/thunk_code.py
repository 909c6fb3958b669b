"""The machine code of thunks, as one more object of a patch.

    push   rbp, and each register that a caller keeps a value in
    and    $-16, for callers that knew the old function not to need an aligned stack
    push   copies of the words on the stack that may be arguments
    call   new function
    ...    and back

Each has an unwind table entry of its own, so that exceptions pass through it.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from libswap.elf.format import SectionType
from libswap.elf.instructions import decoder
from libswap.elf.registers import Registers
from libswap.elf.relocatable import (
    Kind,
    ObjectRelocation,
    ObjectSection,
    Relocatable,
    SectionFlags,
)
from libswap.elf.symbols import Binding, Symbol, SymbolType, Visibility
from libswap.patch.layout import UNWIND

PREFIX: Final = "libswap thunk of "
_TEXT: Final = 1
_UNWIND: Final = 2
_CIE: Final = bytes.fromhex("14000000 00000000 01 7a5200 01 78 10 01 1b 0c0708 9001 0000")
_ENTER: Final = b"\x55\x48\x89\xe5"
"""push %rbp; mov %rsp,%rbp."""
_LEAVE: Final = b"\x5d\xc3"
"""pop %rbp; ret."""
_UNDEFINED: Final = Symbol(
    name="", version="", default=True, library="", value=0, size=0, section=0,
    type=SymbolType.NOTYPE, binding=Binding.GLOBAL, visibility=Visibility.DEFAULT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ThunkCode:
    """One thunk: its bytes, and where its call's distance stands."""

    text: bytes
    call: int


def thunk_code(registers: Registers, vector_size: int, words: int) -> ThunkCode:
    """Machine code by Intel SDM volume 2; the stack is a multiple of 16 before the call."""
    general = sorted(r for r in registers if decoder().RegisterExt.is_gpr64(r))
    vectors = list(enumerate(map(_number, sorted(registers - set(general)))))
    copies = 8 * (words + words % 2)
    text = bytearray(_ENTER)
    text += b"".join(_push(_number(register)) for register in general)
    text += b"\x48\x81\xec" + struct.pack("<i", vector_size * len(vectors))  # sub, %rsp
    text += b"\x48\x83\xe4\xf0"  # and $-16,%rsp
    text += b"".join(_vector(n, i * vector_size, vector_size, 0x11) for i, n in vectors)
    text += b"\x48\x83\xec\x08" * (words % 2)  # sub $8,%rsp
    text += b"".join(
        b"\xff\xb5" + struct.pack("<i", 16 + 8 * word)  # push 16+n(%rbp)
        for word in reversed(range(words))
    )
    text += b"\xe8\0\0\0\0"
    call = len(text) - 4
    text += b"\x48\x81\xc4" + struct.pack("<i", copies)  # add, %rsp
    text += b"".join(_vector(n, i * vector_size, vector_size, 0x10) for i, n in vectors)
    text += b"\x48\x8d\xa5" + struct.pack("<i", -8 * len(general))  # lea -n(%rbp),%rsp
    text += b"".join(_pop(_number(register)) for register in reversed(general))
    return ThunkCode(bytes(text) + _LEAVE, call)


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


@dataclass
class ThunkObject:
    """Thunks one behind the other, as an object."""

    text: bytearray = field(default_factory=bytearray)
    unwind: bytearray = field(default_factory=lambda: bytearray(_CIE))
    symbols: list[Symbol] = field(default_factory=lambda: [_symbol("", 0, 0, 0)])
    calls: list[ObjectRelocation] = field(default_factory=list)
    starts: list[ObjectRelocation] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)

    def add(self, by: str, code: ThunkCode) -> None:
        """Put one behind the others."""
        self.text += b"\xcc" * (-len(self.text) % 16)
        start = len(self.text)
        self.text += code.text
        name = PREFIX + by
        self.entries[by] = name
        self.symbols += [
            _symbol(name, start, len(code.text), _TEXT), _symbol(by, 0, 0, 0)
        ]  # fmt: skip
        callee, own = len(self.symbols) - 1, len(self.symbols) - 2
        self.calls.append(ObjectRelocation(start + code.call, Kind.PLT32, callee, -4))
        begin = len(self.unwind) + 8
        self.starts.append(ObjectRelocation(begin, Kind.PC32, own, 0))
        self.unwind += _entry(len(self.unwind), len(code.text))

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


def _entry(at: int, size: int) -> bytes:
    """A frame description entry (LSB Core 5.0 section 10.6.1); its start is filled in later."""
    program = b"\x41\x0e\x10\x86\x02"  # behind push %rbp: CFA is rsp + 16, rbp lies at CFA - 16
    program += b"\x43\x0d\x06"  # behind mov %rsp,%rbp: CFA is rbp + 16
    program += b"\x03" + struct.pack("<H", size - len(_ENTER) - 1)  # DW_CFA_advance_loc2
    program += b"\x0c\x07\x08"  # before ret: CFA is rsp + 8
    body = struct.pack("<IiI", at + 4, 0, size) + b"\0" + program
    body += bytes(-(len(body) + 4) % 8)
    return struct.pack("<I", len(body)) + body


def _symbol(name: str, value: int, size: int, section: int) -> Symbol:
    kind = SymbolType.FUNC if section else SymbolType.NOTYPE
    return _UNDEFINED._replace(name=name, value=value, size=size, section=section, type=kind)
