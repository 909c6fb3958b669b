"""What belongs into each place of a patch's memory: values now, or fixups for later.

Source: psABI x86-64 table 4.9 (relocation types) and chapter 10 (large and medium models); S, A, P,
G, GOT and L are its letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, assert_never

from libswap.elf.relocatable import Kind as Type
from libswap.elf.relocatable import ObjectRelocation
from libswap.patch.layout import SectionKey
from libswap.patch.patch import Field, Fixup, Kind, Memory, Module, Reference, TlsBlock, TlsModule
from libswap.patch.resolve import (
    Absolute,
    Discarded,
    GlobalOffsetTable,
    InCommon,
    InPatch,
    Meaning,
    OriginalOf,
    Outside,
    ThreadLocal,
)

STUB_SIZE: Final = 8
_DESCRIPTOR_STUB: Final = bytes.fromhex("488b4008c3") + b"\xcc" * 3  # mov 8(%rax),%rax; ret
_ADVICE: Final = "compile it with -fPIC"


class Content(Enum):
    """What a slot of the patch's GOT holds."""

    ADDRESS = "an address"
    THREAD_OFFSET = "an offset from the thread pointer"
    MODULE_AND_OFFSET = "what __tls_get_addr takes"
    MODULE = "the same for the block's start"
    DESCRIPTOR = "a TLS descriptor"


class Slot(NamedTuple):
    """One entry of the patch's GOT, of one or two words."""

    content: Content
    meaning: Meaning

    @property
    def size(self) -> int:
        """In bytes."""
        return 8 if self.content in (Content.ADDRESS, Content.THREAD_OFFSET) else 16


@dataclass(frozen=True, slots=True)
class Value:
    """A reference (None for a plain number) and what is added to it."""

    reference: Reference | None
    addend: int

    def plus(self, addend: int) -> "Value":
        """The place that far behind."""
        return Value(self.reference, self.addend + addend)


_SLOTS: Final[Mapping[int, Content]] = {
    Type.GOTPCREL: Content.ADDRESS,
    Type.GOTPCRELX: Content.ADDRESS,
    Type.REX_GOTPCRELX: Content.ADDRESS,
    Type.GOTPCREL64: Content.ADDRESS,
    Type.GOT32: Content.ADDRESS,
    Type.GOT64: Content.ADDRESS,
    Type.GOTPLT64: Content.ADDRESS,
    Type.TLSGD: Content.MODULE_AND_OFFSET,
    Type.TLSLD: Content.MODULE,
    Type.GOTTPOFF: Content.THREAD_OFFSET,
    Type.GOTPC32_TLSDESC: Content.DESCRIPTOR,
}
_MAY_JUMP: Final = (Type.PLT32, Type.PC32, Type.R32, Type.R32S)
_THREAD_LOCAL: Final = (
    Type.TLSGD, Type.TLSLD, Type.DTPOFF32, Type.DTPOFF64, Type.GOTTPOFF, Type.TPOFF32,
    Type.TPOFF64, Type.GOTPC32_TLSDESC, Type.TLSDESC_CALL,
)  # fmt: skip


def slot_of(relocation: ObjectRelocation, meaning: Meaning) -> Slot | None:
    """The GOT slot that a relocation needs."""
    content = _SLOTS.get(relocation.type)
    if content is None:
        return None
    return Slot(content, ThreadLocal(0, 0) if content is Content.MODULE else meaning)


def stub_of(relocation: ObjectRelocation, meaning: Meaning) -> Meaning | None:
    """The function that a relocation reaches by a jump through a slot, since it may be far away."""
    match meaning:
        case Outside(reference=reference, function=function):
            far = function and not isinstance(reference, Module)
            return meaning if far and relocation.type in _MAY_JUMP else None
        case Absolute(value=0):
            return meaning if relocation.type == Type.PLT32 else None
        case _:
            return None


@dataclass
class Places:
    """Where everything lies, and what is being written there.

    Attributes:
        sections: offset in the patch's memory of each section.
        common: likewise of each tentative definition.
        originals: likewise of each copy of a replaced function's beginning.
        slots, stubs: likewise.
        got: likewise of the GOT's first slot.
        descriptor_stub: likewise of the code that a TLS descriptor calls.
        kind: what the target is.
        static_tls: whether the target's TLS block lies at one distance from every thread pointer.
        thread_pointer_offset: that distance where the target is a program.
        data: the patch's memory.
    """

    sections: Mapping[SectionKey, int]
    common: Mapping[str, int]
    originals: Mapping[str, int]
    slots: Mapping[Slot, int]
    stubs: Mapping[Meaning, int]
    got: int
    descriptor_stub: int
    kind: Kind
    static_tls: bool
    thread_pointer_offset: int
    data: bytearray
    references: dict[Reference, int] = field(default_factory=dict)
    fixups: list[Fixup] = field(default_factory=list)
    problems: dict[str, None] = field(default_factory=dict)

    def relocate(
        self, section: int, relocation: ObjectRelocation, meaning: Meaning, name: str
    ) -> None:
        """Fill in one place of a section.

        Args:
            section: the section's offset in the patch's memory.
            relocation: the place, in the section's terms, and what is asked for.
            meaning: of its symbol.
            name: of its symbol, for what may have to be said.
        """
        place = section + relocation.offset
        try:
            kind = Type(relocation.type)
        except ValueError:
            self.problems[f"relocation type {relocation.type} for {name} is unknown"] = None
            return
        if not self._suits(kind, meaning, name):
            return
        found = self._field(kind, relocation, meaning, place)
        if found is None:
            self._refuse(kind, name, "asks for something that a patch cannot have")
        else:
            self._put(place, *found, f"{kind.name} for {name}")

    def fill_slots(self) -> None:
        """Write the GOT."""
        for slot, place in self.slots.items():
            self._fill_slot(slot, place)

    def fill_stubs(self) -> None:
        """Write the jumps through slots: jmp *slot(%rip)."""
        for meaning, place in self.stubs.items():
            slot = self.slots[Slot(Content.ADDRESS, meaning)]
            self.data[place : place + 2] = b"\xff\x25"
            self.data[place + 2 : place + 6] = (slot - place - 6).to_bytes(4, "little", signed=True)
            self.data[place + 6 : place + 8] = b"\xcc\xcc"
        if self.descriptor_stub:
            at = self.descriptor_stub
            self.data[at : at + STUB_SIZE] = _DESCRIPTOR_STUB

    def value(self, meaning: Meaning) -> Value:
        """S: where a symbol lies."""
        match meaning:
            case InPatch(section=section, value=value):
                return Value(Memory(), self.sections[section] + value)
            case InCommon(name=name):
                return Value(Memory(), self.common[name])
            case OriginalOf(name=name):
                return Value(Memory(), self.originals[name])
            case GlobalOffsetTable():
                return Value(Memory(), self.got)
            case Outside(reference=reference, value=value):
                return Value(reference, value)
            case Absolute(value=value):
                return Value(None, value)
            case ThreadLocal() | Discarded():
                raise AssertionError("it has no address")
        assert_never(meaning)

    def _field(  # noqa: C901  one case for each kind of relocation
        self, kind: Type, relocation: ObjectRelocation, meaning: Meaning, place: int
    ) -> tuple[Field, Value] | None:
        """The shape of the place, and the value before P is subtracted."""
        addend = relocation.addend
        slot = slot_of(relocation, meaning)
        if slot is not None:
            return self._through_slot(kind, self.slots[slot] + addend)
        match kind:
            case Type.R64:
                return Field.WORD64, self.value(meaning).plus(addend)
            case Type.R32:
                return Field.WORD32, self._jump(relocation, meaning).plus(addend)
            case Type.R32S:
                return Field.WORD32S, self._jump(relocation, meaning).plus(addend)
            case Type.PC32 | Type.PLT32:
                return Field.PC32, self._jump(relocation, meaning).plus(addend)
            case Type.PC64:
                return Field.PC64, self.value(meaning).plus(addend)
            case Type.GOTOFF64 | Type.PLTOFF64:
                # S + A - GOT, said as a distance from P, which is as constant as GOT itself.
                return Field.PC64, self.value(meaning).plus(addend + place - self.got)
            case Type.GOTPC32:
                return Field.PC32, Value(Memory(), self.got + addend)
            case Type.GOTPC64:
                return Field.PC64, Value(Memory(), self.got + addend)
            case Type.SIZE32 | Type.SIZE64:
                size = getattr(meaning, "size", 0)
                shape = Field.WORD32 if kind == Type.SIZE32 else Field.WORD64
                return shape, Value(None, size + addend)
            case _:
                return self._thread_local(kind, meaning, addend)

    def _through_slot(self, kind: Type, slot: int) -> tuple[Field, Value]:
        match kind:
            case Type.GOT32:
                return Field.WORD32S, Value(None, slot - self.got)
            case Type.GOT64 | Type.GOTPLT64:
                return Field.WORD64, Value(None, slot - self.got)
            case Type.GOTPCREL64:
                return Field.PC64, Value(Memory(), slot)
            case _:
                return Field.PC32, Value(Memory(), slot)

    def _thread_local(
        self, kind: Type, meaning: Meaning, addend: int
    ) -> tuple[Field, Value] | None:
        if not isinstance(meaning, ThreadLocal):
            return None
        match kind:
            case Type.DTPOFF32:
                return Field.WORD32S, Value(None, meaning.value + addend)
            case Type.DTPOFF64:
                return Field.WORD64, Value(None, meaning.value + addend)
            case Type.TPOFF32:
                return Field.WORD32S, self._thread_offset(meaning.value + addend)
            case Type.TPOFF64:
                return Field.WORD64, self._thread_offset(meaning.value + addend)
            case _:
                return None

    def _jump(self, relocation: ObjectRelocation, meaning: Meaning) -> Value:
        """L: the stub where there is one, else S."""
        stub = stub_of(relocation, meaning)
        return self.value(meaning) if stub is None else Value(Memory(), self.stubs[stub])

    def _thread_offset(self, value: int) -> Value:
        if self.kind == Kind.LIBRARY:
            return Value(TlsBlock(), value)
        return Value(None, self.thread_pointer_offset + value)

    def _fill_slot(self, slot: Slot, place: int) -> None:
        what = f"a slot for {slot.content.value}"
        value = slot.meaning.value if isinstance(slot.meaning, ThreadLocal) else 0
        match slot.content:
            case Content.ADDRESS:
                words = [self.value(slot.meaning)]
            case Content.THREAD_OFFSET:
                words = [self._thread_offset(value)]
            case Content.MODULE_AND_OFFSET | Content.MODULE:
                words = [Value(TlsModule(), 0), Value(None, value)]
            case Content.DESCRIPTOR:
                words = [Value(Memory(), self.descriptor_stub), self._thread_offset(value)]
        for number, word in enumerate(words):
            self._put(place + 8 * number, Field.WORD64, word, what)

    def _suits(self, kind: Type, meaning: Meaning, name: str) -> bool:
        """Whether the relocation makes sense for what its symbol is; if not, it is said."""
        if kind in (Type.NONE, Type.TLSDESC_CALL):
            return False
        local = isinstance(meaning, ThreadLocal)
        if isinstance(meaning, Discarded):
            self._refuse(kind, name, "refers to a copy of a section that is not kept")
        elif local and kind not in (*_THREAD_LOCAL, Type.SIZE32, Type.SIZE64):
            self._refuse(kind, name, "but the target's is thread-local; declare it __thread")
        elif kind in _THREAD_LOCAL and not local and kind != Type.TLSLD:
            self._refuse(kind, name, "but it is not thread-local in the target")
        elif self._needs_static_tls(kind):
            self._refuse(kind, name, f"but only its threads know where it is; {_ADVICE}")
        elif kind in _MAY_JUMP and self._too_far(kind, meaning):
            self._refuse(kind, name, f"but it may be anywhere in memory; {_ADVICE}")
        else:
            return True
        return False

    def _needs_static_tls(self, kind: Type) -> bool:
        fixed = (Type.GOTTPOFF, Type.TPOFF32, Type.TPOFF64, Type.GOTPC32_TLSDESC)
        return kind in fixed and self.kind == Kind.LIBRARY and not self.static_tls

    def _too_far(self, kind: Type, meaning: Meaning) -> bool:
        if kind in (Type.R32, Type.R32S) and self.kind != Kind.PROGRAM:
            return not isinstance(meaning, Absolute)
        match meaning:
            case Outside(reference=reference, function=function):
                return not function and not isinstance(reference, Module)
            case Absolute():
                return kind == Type.PC32
            case _:
                return False

    def _refuse(self, kind: Type, name: str, why: str) -> None:
        self.problems[f"{kind.name} for {name} {why}"] = None

    def _put(self, place: int, shape: Field, value: Value, what: str) -> None:
        known = value.reference is None and not shape.relative
        inside = isinstance(value.reference, Memory) and shape.relative
        if not known and not inside:
            self._later(place, shape, value)
            return
        number = value.addend - (place if inside else 0)
        if not shape.holds(number):
            self.problems[f"{what}: {number:#x} does not fit into {shape.value}"] = None
            return
        self.data[place : place + shape.size] = (number % (1 << 8 * shape.size)).to_bytes(
            shape.size, "little"
        )

    def _later(self, place: int, shape: Field, value: Value) -> None:
        if value.reference is None:
            raise AssertionError("a distance to a plain number is refused beforehand")
        index = self.references.setdefault(value.reference, len(self.references))
        self.fixups.append(Fixup(place, shape, index, value.addend))
