"""x86-64: code at a library's entries that decides for each call which copy of it runs.

At an entry every register may hold something: arguments, the number of vector registers of a
variadic call in al, a static chain in r10; and code of the same library may count on registers that
the ABI gives away (gcc -fipa-ra). So every register that is used is saved, and none of the vector
or x87 registers is touched. A call that comes from the old copy itself stays there.

A function that only uses handles is jumped to: its frame is its caller's, so that any number of
arguments, exceptions and longjmp pass. One that makes or ends objects is called, for there is
something to note when it has come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libswap.linux.memory import Range
from libswap.live.arch.x86_64_assembly import Assembly, At
from libswap.live.draining import table
from libswap.live.draining.handles import IN_REGISTERS, RESULT, Rule, When

_ARGUMENTS: Final = ("RDI", "RSI", "RDX", "RCX", "R8", "R9")
_WORD: Final = 8


@dataclass(frozen=True, slots=True)
class Grounds:
    """What all dispatchers of one draining have in common.

    Attributes:
        old: the old copy's extent.
        area: the gates, where moved first instructions of the old copy run, and the dispatchers.
        code: where in it the dispatchers begin.
        new: the new copy's extent.
        table: address of the table of handles.
    """

    old: Range
    area: Range
    code: int
    new: Range
    table: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dispatcher.

    Attributes:
        rule: what the function does with handles.
        old: where the old copy's function begins, past its changed entry.
        new: the new copy's function.
    """

    rule: Rule
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Routines:
    """What dispatchers call, with a handle in rax; they change rax, rcx, rdx and the flags.

    Attributes:
        note: writes down that its state is what dl holds.
        meet: decides whose it is when it is seen for the first time, notes it, and gives that in
            dl: what lies in the new copy itself, such as a table of methods, is the new one's.
    """

    note: int
    meet: int


def dispatchers(grounds: Grounds, wanted: Sequence[Wanted], at: int) -> tuple[bytes, list[int]]:
    """The code of all dispatchers, to lie at `at`, and where each of them begins.

    Raises:
        MissingTool: iced-x86 is not installed.
    """
    note = _note(grounds).encoded(at)
    meet = _meet(grounds, at).encoded(at + len(note))
    routines = Routines(at, at + len(note))
    image = note + meet
    starts = []
    for one in wanted:
        starts.append(at + len(image))
        make = _framed if one.rule.framed else _jumping
        image += make(grounds, routines, one).encoded(starts[-1])
    return image, starts


def room(count: int) -> int:
    """Bytes that suffice for so many dispatchers."""
    return 512 + 1536 * count


# The routines


def _note(grounds: Grounds) -> Assembly:
    code = Assembly()
    code.push("RBX")
    code.add("MOV_R64_RM64", "RBX", "RAX")
    _first_slot(code, grounds, "RBX")
    code.label("probe")
    code.add("MOV_R64_RM64", "RAX", At("RCX"))
    code.add("CMP_R64_RM64", "RAX", "RBX")
    code.go("found", "JE")
    code.add("TEST_RM64_R64", "RAX", "RAX")
    code.go("next", "JNE")
    code.add("MOV_R64_IMM64", "RAX", grounds.table + table.LAST)
    code.add("CMP_R64_RM64", "RCX", "RAX")
    code.go("full", "JE")
    # An old object that has no room is taken for an old one all the same; a new one would be, too.
    code.add("TEST_RM8_IMM8", "DL", table.NEW)
    code.go("take", "JNE")
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("CMP_RM32_IMM32", At("RAX", table.COUNT), table.MOST_MADE)
    code.go("full", "JAE")
    code.label("take")
    code.add("XOR_R32_RM32", "EAX", "EAX")
    code.add("CMPXCHG_RM64_R64", At("RCX"), "RBX", lock=True)
    code.go("probe", "JNE")  # another thread took the slot: look what it put there
    _count_up(code, grounds, table.COUNT)
    code.label("found")
    code.add("MOV_RM8_R8", At("RCX", table.STATE), "DL")
    code.add("TEST_RM8_IMM8", "DL", table.NEW)
    code.go("noted", "JE")
    _count_up(code, grounds, table.MADE)
    code.label("noted")
    code.pop("RBX")
    code.add("RETNQ")
    code.label("next")
    code.add("ADD_RM64_IMM8", "RCX", table.SLOT)
    code.go("probe")
    code.label("full")
    _count_up(code, grounds, table.LOST)
    code.pop("RBX")
    code.add("RETNQ")
    return code


def _meet(grounds: Grounds, note: int) -> Assembly:
    code = Assembly()
    code.add("MOV_R64_RM64", "RCX", "RAX")
    code.add("MOV_R64_IMM64", "RDX", grounds.new.start)
    code.add("SUB_R64_RM64", "RCX", "RDX")
    code.add("MOV_R32_IMM32", "EDX", table.NEW)
    code.add("CMP_RM64_IMM32", "RCX", grounds.new.size)
    code.go("note", "JB")
    code.add("MOV_R64_IMM64", "RCX", grounds.table)
    code.add("CMP_RM32_IMM8", At("RCX", table.SETTLED), 0)
    code.go("note", "JNE")
    code.add("MOV_R32_IMM32", "EDX", table.OLD)
    code.add("INC_RM32", At("RCX", table.MET), lock=True)
    code.add("CMP_RM32_IMM32", At("RCX", table.COUNT), table.MOST_SEEN)
    code.go("note", "JB")
    _count_up(code, grounds, table.LOST)
    code.add("RETNQ")
    code.label("note")
    code.away(note)
    return code


def _count_up(code: Assembly, grounds: Grounds, which: int) -> None:
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("INC_RM32", At("RAX", which), lock=True)


def _first_slot(code: Assembly, grounds: Grounds, handle: str) -> None:
    """Where the search for a handle begins, in rcx. Uses rax."""
    code.add("MOV_R64_IMM64", "RCX", table.GOLDEN)
    code.add("IMUL_R64_RM64", "RCX", handle)
    code.add("SHR_RM64_IMM8", "RCX", 64 - table.BITS)
    code.add("SHL_RM64_IMM8", "RCX", 4)
    base = "RDX" if handle == "RAX" else "RAX"
    code.add("MOV_R64_IMM64", base, grounds.table + table.HEADER)
    code.add("ADD_R64_RM64", "RCX", base)


# What both kinds of dispatchers do


def _unless_from_old(code: Assembly, grounds: Grounds, back: At, *, framed: bool) -> None:
    """A call from the old copy goes to `own`: the caller may count on exactly that function.

    So does one that the old copy makes in place of returning to a dispatcher that called it.
    """
    for area, found in ((grounds.old, "own"), (grounds.area, "from our code")):
        code.add("MOV_R64_IMM64", "RCX", area.start)
        code.add("MOV_R64_RM64", "RAX", back)
        code.add("SUB_R64_RM64", "RAX", "RCX")
        code.add("CMP_RM64_IMM32", "RAX", area.size)
        code.go(found, "JB")
    code.go("from elsewhere")
    code.label("from our code")
    code.add("CMP_RM64_IMM32", "RAX", grounds.code - grounds.area.start)
    code.go("own", "JB")
    frame = "RBP"
    if framed:
        frame = "RAX"
        code.add("MOV_R64_RM64", "RAX", At("RBP"))
    code.add("CMP_RM64_IMM32", At(frame, _STATE.offset), table.NEW)
    code.go("own", "JNE")
    code.label("from elsewhere")


def _by_direction(code: Assembly, grounds: Grounds, otherwise: str) -> None:
    """Without a handle: to the new copy, unless this drain is taken back."""
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("CMP_RM32_IMM8", At("RAX", table.DIRECTION), 0)
    code.go(otherwise, "JE")


def _load(code: Assembly, source: str | At, offsets: Sequence[int], nothing: str) -> None:
    """The handle that a place holds, in rax; or go to `nothing` where a pointer is null."""
    code.add("MOV_R64_RM64", "RAX", source)
    for offset in offsets:
        code.add("TEST_RM64_R64", "RAX", "RAX")
        code.go(nothing, "JE")
        code.add("MOV_R64_RM64", "RAX", At("RAX", offset))
    code.add("TEST_RM64_R64", "RAX", "RAX")
    code.go(nothing, "JE")


def _find(code: Assembly, grounds: Grounds, missing: str) -> None:
    """With a handle in rax, its slot in rcx; or go to `missing`. Uses rdx."""
    _first_slot(code, grounds, "RAX")
    code.label(f"probe for {missing}")
    code.add("MOV_R64_RM64", "RDX", At("RCX"))
    code.add("CMP_R64_RM64", "RDX", "RAX")
    code.go(f"hit for {missing}", "JE")
    code.add("TEST_RM64_R64", "RDX", "RDX")
    code.go(missing, "JE")
    code.add("ADD_RM64_IMM8", "RCX", table.SLOT)
    code.go(f"probe for {missing}")
    code.label(f"hit for {missing}")


# A function that only uses handles

_PUSHED: Final = ("RAX", "RCX", "RDX")
_BACK: Final = At("RSP", _WORD * len(_PUSHED))
_LIVE: Final = {"RDX": At("RSP", 0), "RCX": At("RSP", _WORD)}


def _live(argument: int) -> str | At:
    """Where an argument is while the dispatcher of a jump looks at it."""
    if argument > IN_REGISTERS:
        return At("RSP", _BACK.offset + _WORD * (argument - IN_REGISTERS))
    register = _ARGUMENTS[argument - 1]
    return _LIVE.get(register, register)


def _jumping(grounds: Grounds, routines: Routines, one: Wanted) -> Assembly:
    code = Assembly()
    code.push(*_PUSHED)
    _unless_from_old(code, grounds, _BACK, framed=False)
    if not one.rule.by:
        _by_direction(code, grounds, "own")
    for place in one.rule.by:
        _load(code, _live(place.argument), place.offsets, f"{place} is null")
        _asked(code, grounds, routines, str(place), note=len(one.rule.by) == 1)
        code.label(f"{place} is null")
    if len(one.rule.by) > 1:
        code.add("MOV_R64_IMM64", "RAX", grounds.table)
        code.add("CMP_RM32_IMM8", At("RAX", table.SETTLED), 0)
        code.go("other", "JNE")
    if one.rule.by:
        code.go("own")
    code.label("other")
    code.pop(*reversed(_PUSHED))
    code.away(one.new)
    code.label("own")
    code.pop(*reversed(_PUSHED))
    code.away(one.old)
    return code


def _asked(code: Assembly, grounds: Grounds, routines: Routines, name: str, *, note: bool) -> None:
    """Go to `other` or `own`, or on where a handle is unknown and shall not be noted."""
    _find(code, grounds, f"{name} is missing")
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
    code.go("other", "JNE")
    if note:
        code.add("INC_RM32", At("RCX", table.USES))
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.OLD)
        code.go("own", "JNE")
    code.label(f"{name} is missing")
    if note:
        code.away(routines.meet, "CALL")
        code.add("CMP_RM8_IMM8", "DL", table.NEW)
        code.go("other", "JE")


# A function that makes or ends objects

_SAVED: Final = {
    name: At("RBP", -_WORD * number) for number, name in enumerate(("RAX", *_ARGUMENTS), 1)
}
_TARGET: Final = At("RBP", -8 * _WORD)
_STATE: Final = At("RBP", -9 * _WORD)
_HANDLE: Final = At("RBP", -10 * _WORD)
_SECOND: Final = At("RBP", -11 * _WORD)
_FRAME: Final = 12 * _WORD
_BACK_IN_FRAME: Final = At("RBP", _WORD)
_ABOVE: Final = 2 * _WORD
"""From the frame pointer to the arguments on the stack."""


def _kept(argument: int) -> At:
    """Where the frame has an argument, or the result."""
    if argument > IN_REGISTERS:
        return At("RBP", _ABOVE + _WORD * (argument - IN_REGISTERS - 1))
    return _SAVED["RAX" if argument == RESULT else _ARGUMENTS[argument - 1]]


def _framed(grounds: Grounds, routines: Routines, one: Wanted) -> Assembly:
    code, rule = Assembly(), one.rule
    code.push("RBP")
    code.add("MOV_R64_RM64", "RBP", "RSP")
    code.add("SUB_RM64_IMM32", "RSP", _FRAME)
    for register, place in _SAVED.items():
        code.add("MOV_RM64_R64", place, register)
    code.add("MOV_RM64_IMM32", _HANDLE, 0)
    _unless_from_old(code, grounds, _BACK_IN_FRAME, framed=True)
    _choose(code, grounds, routines, one)
    if rule.ends:
        _mark(code, grounds)
    _call(code, rule.copied)
    code.add("MOV_RM64_R64", _SAVED["RAX"], "RAX")
    code.add("MOV_RM64_R64", _SECOND, "RDX")
    _note_what_came(code, grounds, routines, rule)
    code.add("MOV_R64_RM64", "RAX", _SAVED["RAX"])
    code.add("MOV_R64_RM64", "RDX", _SECOND)
    code.add("LEAVEQ")
    code.add("RETNQ")
    code.label("own")
    for register in ("RAX", "RCX"):
        code.add("MOV_R64_RM64", register, _SAVED[register])
    code.add("LEAVEQ")
    code.away(one.old)
    return code


def _choose(code: Assembly, grounds: Grounds, routines: Routines, one: Wanted) -> None:
    """Which function to call, and the state that what it makes will have."""
    rule = one.rule
    for place in rule.by:
        _load(code, _kept(place.argument), place.offsets, f"{place} is null")
        code.add("MOV_RM64_R64", _HANDLE, "RAX")
        _find(code, grounds, f"{place} is missing")
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
        code.go("the new one", "JNE")
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.OLD)
        code.go(f"{place} is null", "JNE")
        code.label(f"{place} is missing")
        code.away(routines.meet, "CALL")
        code.add("CMP_RM8_IMM8", "DL", table.NEW)
        code.go("the new one", "JE")
        code.label(f"{place} is null")
    if rule.gives:  # by itself, or of nothing
        code.add("CMP_RM64_IMM8", _HANDLE, 0)
        code.go("the old one", "JNE")
        _by_direction(code, grounds, "the old one")
        code.add("CMP_RM32_IMM32", At("RAX", table.COUNT), table.MOST_MADE)
        code.go("the old one", "JAE")
        code.go("the new one")
    code.label("the old one")
    code.add("MOV_RM64_IMM32", _STATE, table.OLD)
    code.add("MOV_R64_IMM64", "RAX", one.old)
    code.go("chosen")
    code.label("the new one")
    code.add("MOV_RM64_IMM32", _STATE, table.NEW)
    code.add("MOV_R64_IMM64", "RAX", one.new)
    code.label("chosen")
    code.add("MOV_RM64_R64", _TARGET, "RAX")


def _mark(code: Assembly, grounds: Grounds) -> None:
    """The object is about to end. Calls meanwhile still find it; a new one clears the mark."""
    code.add("MOV_R64_RM64", "RAX", _HANDLE)
    code.add("TEST_RM64_R64", "RAX", "RAX")
    code.go("nothing to mark", "JE")
    _find(code, grounds, "nothing to mark")
    code.add("OR_RM8_IMM8", At("RCX", table.STATE), table.ENDING, lock=True)
    code.label("nothing to mark")


def _call(code: Assembly, words: int) -> None:
    """The function, with all registers as they came and a copy of what lies on the stack."""
    words += words % 2
    if words:
        code.add("SUB_RM64_IMM32", "RSP", _WORD * words)
        code.add("LEA_R64_M", "RSI", At("RBP", _ABOVE))
        code.add("MOV_R64_RM64", "RDI", "RSP")
        code.add("MOV_R32_IMM32", "ECX", words)
        code.repeat_move()
    for register, place in _SAVED.items():
        code.add("MOV_R64_RM64", register, place)
    code.add("CALL_RM64", _TARGET)


def _note_what_came(code: Assembly, grounds: Grounds, routines: Routines, rule: Rule) -> None:
    """What was made is the new copy's or the old one's; what was ended is gone."""
    if rule.when is not When.ALWAYS:
        code.add("CMP_RM32_IMM8", _SAVED["RAX"], 0)
        code.go("not so", "JNE" if rule.when is When.ZERO else "JE")
    if rule.ends:
        _forget(code, grounds, counted=rule.counted)
    for number, place in enumerate(rule.gives):
        _load(code, _kept(place.argument), place.offsets, f"none {number}")
        if rule.borrowed and not rule.lent:
            _unless_known(code, grounds, number)
        code.add("MOV_R64_RM64", "RDX", _STATE)
        if rule.borrowed:
            code.add("OR_RM32_IMM8", "EDX", table.GIVEN_BACK)
        code.away(routines.note, "CALL")
        code.label(f"none {number}")
    if rule.ends and rule.when is not When.ALWAYS:
        code.go("done")
        code.label("not so")
        code.add("MOV_R64_RM64", "RAX", _HANDLE)
        _find(code, grounds, "done")
        code.add("AND_RM8_IMM8", At("RCX", table.STATE), ~table.ENDING, lock=True)
        code.label("done")
    else:
        code.label("not so")


def _unless_known(code: Assembly, grounds: Grounds, number: int) -> None:
    """Go on where an object was handed out without a reference, and its state is not known yet."""
    _find(code, grounds, f"not known {number}")
    code.add("MOV_R64_RM64", "RDX", _STATE)
    code.add("TEST_RM8_R8", At("RCX", table.STATE), "DL")
    code.go(f"none {number}", "JNE")
    code.label(f"not known {number}")


def _forget(code: Assembly, grounds: Grounds, *, counted: bool) -> None:
    """Gone, unless its address was given to another object meanwhile: then the mark is gone."""
    code.add("MOV_R64_RM64", "RAX", _HANDLE)
    _find(code, grounds, "not known")
    code.add("MOVZX_R32_RM8", "EAX", At("RCX", table.STATE))
    code.add("TEST_RM8_IMM8", "AL", table.ENDING)
    code.go("not known", "JE")
    code.add("XOR_R32_RM32", "EDX", "EDX")
    if counted:
        code.add("MOV_R32_RM32", "EDX", "EAX")
        code.add("XOR_RM32_IMM8", "EDX", table.ENDING)
        code.add("OR_RM32_IMM8", "EDX", table.GIVEN_BACK)
    code.add("CMPXCHG_RM8_R8", At("RCX", table.STATE), "DL", lock=True)
    code.label("not known")
