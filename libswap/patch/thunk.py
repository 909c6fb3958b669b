"""Code between an old entry and a new function that keeps what old callers rely on.

    push   rbp, and each register that a caller keeps a value in
    and    $-16, for callers that knew the old function not to need an aligned stack
    push   copies of the words on the stack that may be arguments
    call   new function
    ...    and back

It stands in the patch as one more object, with an unwind table entry of its own, so that exceptions
pass through it.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from libswap.patch.registers import (
    Callers,
    Registers,
    Reliance,
    caller_saved,
    needs_alignment,
    written,
)
from libswap.patch.replace import Pair
from libswap.patch.stack_arguments import stack_arguments
from libswap.patch.target import Target

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

    def around(self, vaddr: int) -> tuple[int, int] | None:  # noqa: ARG002  see registers.Code
        """A jump through a register may be a call: then everything may change."""
        return None


def thunks(
    target: Target, patch: Patch, pairs: Sequence[Pair], results: Mapping[str, frozenset[str]]
) -> Thunks:
    """The thunks that a patch needs; most need none.

    Args:
        target: with the old functions and their callers.
        patch: linked without thunks.
        pairs: what it replaces, in the order of `patch.replaced`.
        results: name of a new function -> which of rdx, xmm0 and xmm1 its result can be in.
    """
    callers, inside, made = Callers(target), _Inside.of(patch), _Builder()
    findings: list[Finding] = []
    for pair, replaced in zip(pairs, patch.replaced, strict=True):
        left_alone = caller_saved() - written(target, replaced.vaddr)
        if not left_alone:
            continue  # it calls what the compiler did not know: nobody relies on anything
        changed = left_alone & written(inside, replaced.code[0])
        relied = callers.rely_on(pair.old, changed) if changed else Reliance(frozenset())
        relied, unclear = _without_results(relied, results.get(replaced.by))
        aligns = needs_alignment(inside, replaced.code[0]) and callers.may_misalign(pair.old)
        if relied.registers or aligns:
            size = 32 if relied.wide else 16
            words = stack_arguments(inside.bytes_at(*replaced.code), replaced.code[0])
            made.add(replaced, _thunk(relied.registers, size, words))
        findings += _notes(replaced, relied, unclear, aligns=aligns)
    return Thunks(made.object(), made.entries, tuple(findings))


def _without_results(
    relied: Reliance, results: frozenset[str] | None
) -> tuple[Reliance, Registers]:
    """What is to be kept, and of that what may just as well be the new function's result.

    A function that gives back what it was given (a double, the second half of a structure) leaves
    the register of its result alone. What it does not return in rax shows: it does not write it.
    """
    r = decoder().Register
    halves = {"rdx": r.RDX, "xmm0": r.ZMM0, "xmm1": r.ZMM1}
    if results is None:
        return relied, relied.read & {r.ZMM0}
    asked = relied.registers & {halves[name] for name in results}
    if len(results) == len(halves):  # a structure: in which of them, its members tell
        return relied, asked
    return replace(relied, registers=relied.registers - asked), frozenset()


@dataclass(frozen=True, slots=True)
class _Code:
    """One thunk: its bytes, and where its call's distance stands."""

    text: bytes
    call: int


def _thunk(registers: Registers, vector_size: int, words: int) -> _Code:
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
    return _Code(bytes(text) + _LEAVE, call)


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


def _notes(
    replaced: Replaced, relied: Reliance, unclear: Registers, *, aligns: bool
) -> Iterator[Finding]:
    label = replaced.label
    if unclear:
        names = ", ".join(map(_name, sorted(unclear)))
        detail = (
            f"callers read {names} behind a call, which the old function leaves alone: as its"
            " result, or as a value of their own; it would be kept as it was"
        )
        advice = "compile the patch with -g, so that the type of the result is known"
        yield Finding(Severity.RISK, "result-unclear", label, detail, advice)
    if relied.registers:
        names = ", ".join(map(_name, sorted(relied.registers)))
        detail = (
            f"callers keep values in registers that the old function left alone ({names}); a call"
            " goes through a few instructions more, which preserve them"
        )
        yield Finding(Severity.NOTE, "registers-kept", label, detail)
    if aligns:
        detail = (
            "callers need not align the stack for the old function, and the new one needs it; a"
            " call goes through a few instructions more, which align it"
        )
        yield Finding(Severity.NOTE, "stack-aligned", label, detail)
    if relied.wider:
        detail = "callers use 512-bit or mask registers, of which only 128 bits would be preserved"
        advice = "replace the callers too"
        yield Finding(Severity.RISK, "wide-registers-kept", label, detail, advice)


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
