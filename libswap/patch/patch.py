"""A function patch as facts: linked bytes, what they refer to, and what they replace."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from libswap.patch.findings import Finding


class Protection(Enum):
    """How a region of the patch's memory is mapped; none is writable and executable."""

    CODE = "r-x"
    CONSTANTS = "r--"
    DATA = "rw-"


@dataclass(frozen=True, slots=True)
class Region:
    """Whole pages of the patch's memory.

    Attributes:
        offset: from the start of the patch's memory, a multiple of the page size.
        size: in bytes, a multiple of the page size.
        data: what it begins with; the rest is zero.
    """

    protection: Protection
    offset: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """The start of the patch's own memory."""


@dataclass(frozen=True, slots=True)
class Module:
    """The load base of the target: what is added to a virtual address of its file."""


@dataclass(frozen=True, slots=True)
class Import:
    """A symbol that another module exports, looked for as the dynamic linker would.

    Attributes:
        version: "" for any.
        library: the soname that the version belongs to, "" for any.
        weak: whether its absence means 0.
    """

    name: str
    version: str
    library: str
    weak: bool


@dataclass(frozen=True, slots=True)
class Indirect:
    """What the resolver of an IFUNC of the target says.

    Attributes:
        vaddr: of the resolver, in the target file's terms.
    """

    vaddr: int


@dataclass(frozen=True, slots=True)
class TlsModule:
    """The target's TLS module id, as __tls_get_addr wants it."""


@dataclass(frozen=True, slots=True)
class TlsBlock:
    """Where the target's TLS block begins, relative to the thread pointer; a negative number."""


Reference: TypeAlias = Memory | Module | Import | Indirect | TlsModule | TlsBlock
"""Something whose value is known only in a process."""


class Field(Enum):
    """The shape of a place that is filled in: bytes, signedness, and relative to what."""

    WORD64 = "word64"
    WORD32 = "word32"
    WORD32S = "word32s"
    PC32 = "pc32"
    PC64 = "pc64"

    @property
    def size(self) -> int:
        """In bytes."""
        return 8 if self in (Field.WORD64, Field.PC64) else 4

    @property
    def relative(self) -> bool:
        """Whether the place's own address is subtracted."""
        return self in (Field.PC32, Field.PC64)

    def holds(self, value: int) -> bool:
        """Whether a value fits, as psABI table 4.9 wants it verified."""
        match self:
            case Field.WORD64:
                return -(1 << 63) <= value < 1 << 64
            case Field.PC64:
                return -(1 << 63) <= value < 1 << 63
            case Field.WORD32:
                return 0 <= value < 1 << 32
            case Field.WORD32S | Field.PC32:
                return -(1 << 31) <= value < 1 << 31


@dataclass(frozen=True, slots=True)
class Fixup:
    """A place to be filled in when the addresses are known: reference + addend [- place].

    Attributes:
        place: offset in the patch's memory.
        reference: index in the patch's references.
        addend: signed.
    """

    place: int
    field: Field
    reference: int
    addend: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """A function of the target and what takes its place.

    Attributes:
        name: in the target.
        unit: the source file that the linker noted for a static function, else "".
        vaddr: its entry, in the target file's terms.
        size: in bytes, from its symbol.
        room: bytes from the entry that no other code uses, at least the size.
        first: the first bytes at the entry, as many as a jump has, up to `FIRST`.
        parts: (vaddr, size) of code split off from it (.cold), which belongs to it.
        by: the new function's name.
        entry: offset in the patch's memory of what the old entry jumps to.
        code: offset and size of the new function in the patch's memory.
    """

    name: str
    unit: str
    vaddr: int
    size: int
    room: int
    first: bytes
    parts: tuple[tuple[int, int], ...]
    by: str
    entry: int
    code: tuple[int, int]

    @property
    def label(self) -> str:
        """name, or name@file.c where the file is known."""
        return f"{self.name}@{self.unit}" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Original:
    """Room for a copy of a replaced function's first instructions, and a jump to the rest.

    Attributes:
        offset: in the patch's memory; `ORIGINAL_ROOM` bytes.
        replaced: index in the patch's replaced functions.
    """

    offset: int
    replaced: int


ORIGINAL_ROOM = 96
FIRST = 16


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions of the patch that are called in the target, as offsets in the patch's memory.

    Attributes:
        constructors: called in this order, before `pre_apply`.
        pre_apply: called before the commit; a result other than 0 calls it off.
        post_apply: called after it.
        pre_revert: called before the old code comes back; a result other than 0 calls it off.
    """

    constructors: tuple[int, ...] = ()
    pre_apply: int | None = None
    post_apply: int | None = None
    pre_revert: int | None = None


class Kind(Enum):
    """What a target file is."""

    PROGRAM = "program"
    """Linked to a fixed address (ET_EXEC)."""
    PIE = "position-independent program"
    LIBRARY = "library"


@dataclass(frozen=True, slots=True)
class Pin:
    """The one file that a patch is for.

    Attributes:
        name: the file's name without directories, or its soname; says nothing, only informs.
        kind: what it is.
        build_id: in hexadecimal, "" where it was linked without one.
        sha256: of the whole file in hexadecimal where it has no build id, else "": stripping a
            file keeps the one and changes the other.
    """

    name: str
    kind: Kind
    build_id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Unwind:
    """The patch's .eh_frame, ended by a zero word, as __register_frame wants it.

    Attributes:
        offset: in the patch's memory.
        size: in bytes, with the end.
    """

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Use:
    """Something of the target that the patch refers to; for people.

    Attributes:
        name: in the target.
        unit: the source file of a static one, else "".
        vaddr: in the target file's terms; of a thread-local variable, offset in the TLS block.
        what: "function", "variable" or "thread-local variable".
    """

    name: str
    unit: str
    vaddr: int
    what: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Everything that a patch file holds.

    Attributes:
        description: the author's words.
        sources: the names of the objects it was made of.
        pin: its target.
        size: of its memory in bytes, whole pages.
        regions: code, constants and data; at most one of each, ascending, from offset 0.
        references: what its fixups refer to.
        fixups: ascending by place, none overlapping.
        replaced: the functions it replaces, ascending by address.
        originals: copies of replaced functions that it calls.
        hooks: functions of it that are called in the target.
        unwind: its unwind table, None where it has none.
        uses: what it uses of the target.
        findings: what was found when it was built.
        near: whether it must lie below 2 GiB, as -fno-pic code does.
    """

    description: str
    sources: tuple[str, ...]
    pin: Pin
    size: int
    regions: tuple[Region, ...]
    references: tuple[Reference, ...]
    fixups: tuple[Fixup, ...]
    replaced: tuple[Replaced, ...]
    originals: tuple[Original, ...]
    hooks: Hooks
    unwind: Unwind | None
    uses: tuple[Use, ...]
    findings: tuple[Finding, ...]
    near: bool
