"""x86-64: code at a library's entries that decides for each call which copy of it runs.

At an entry every register may hold something: arguments, the number of vector registers of a
variadic call in al, a static chain in r10; and code of the same library may count on registers that
the ABI gives away (gcc -fipa-ra). So every register that is used is saved, and none of the vector
or x87 registers is touched. A call that comes from the old copy itself stays there.

A function that only uses handles is jumped to: its frame is its caller's, so that any number of
arguments, exceptions and longjmp pass. One that makes or ends objects is called, for there is
something to note when it has come back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.live.arch import x86_64_doubles as doubles
from libswap.live.arch import x86_64_frame as frame
from libswap.live.arch.x86_64_assembly import Assembly, At
from libswap.live.arch.x86_64_lookup import Grounds, find, first_slot, load
from libswap.live.draining import table
from libswap.live.draining.handles import ASK_ALL, IN_REGISTERS, Rule, When

_WORD: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """One dispatcher.

    Attributes:
        rule: what the function does with handles.
        old: where the old copy's function begins, past its changed entry.
        new: the new copy's function.
        undo: where the old copy's function begins that ends what it has made; 0 for none.
    """

    rule: Rule
    old: int
    new: int
    undo: int = 0


@dataclass(frozen=True, slots=True)
class Routines:
    """What dispatchers call, with a handle in rax; they change rax, rcx, rdx and the flags.

    Attributes:
        note: writes down that its state is what dl holds.
        meet: decides whose it is when it is seen for the first time, notes it, and gives that in
            dl: what lies in the new copy itself, such as a table of methods, is the new one's.
        told: likewise of what is an object for certain, which may tell by itself and needs no note.
    """

    note: int
    meet: int
    told: int

    def of(self, rule: Rule) -> int:
        """The one for an unknown handle; a word that may be anything is not followed."""
        return self.meet if rule is ASK_ALL else self.told


def dispatchers(grounds: Grounds, wanted: Sequence[Wanted], at: int) -> tuple[bytes, list[int]]:
    """The code of all dispatchers, to lie at `at`, and where each of them begins.

    Raises:
        MissingTool: iced-x86 is not installed.
    """
    note = _note(grounds).encoded(at)
    meet = _meet(grounds, at).encoded(at + len(note))
    told, its = b"", at + len(note)
    if grounds.tells is not None:
        its += len(meet)
        told = _told(grounds, at + len(note)).encoded(its)
    routines = Routines(at, at + len(note), its)
    image = note + meet + told
    starts = []
    for one in wanted:
        starts.append(at + len(image))
        make = _framed if one.rule.framed else _jumping
        image += make(grounds, routines, one).encoded(starts[-1])
    return image, starts


def room(rules: Iterable[Rule]) -> int:
    """Bytes that suffice for the dispatchers of functions with these rules."""
    return 512 + sum(1536 + 768 * len(rule.by) for rule in rules)


# The routines


def _note(grounds: Grounds) -> Assembly:
    code = Assembly()
    code.push("RBX")
    code.add("MOV_R64_RM64", "RBX", "RAX")
    first_slot(code, grounds, "RBX")
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


def _told(grounds: Grounds, meet: int) -> Assembly:
    """By the word in the object: what lies in neither copy leaves it to `meet`."""
    assert grounds.tells is not None  # noqa: S101  else there is no such routine
    code = Assembly()
    for area, state in ((grounds.new, table.NEW), (grounds.old, table.OLD)):
        code.add("MOV_R64_RM64", "RCX", At("RAX", grounds.tells))
        code.add("MOV_R64_IMM64", "RDX", area.start)
        code.add("SUB_R64_RM64", "RCX", "RDX")
        code.add("MOV_R32_IMM32", "EDX", state)
        code.add("CMP_RM64_IMM32", "RCX", area.size)
        code.go("known", "JB")
    code.away(meet)
    code.label("known")
    code.add("RETNQ")
    return code


def _count_up(code: Assembly, grounds: Grounds, which: int) -> None:
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("INC_RM32", At("RAX", which), lock=True)


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
    caller = "RBP"
    if framed:
        caller = "RAX"
        code.add("MOV_R64_RM64", "RAX", At("RBP"))
    code.add("CMP_RM64_IMM32", At(caller, frame.STATE.offset), table.NEW)
    code.go("own", "JNE")
    code.label("from elsewhere")


def _by_direction(code: Assembly, grounds: Grounds, otherwise: str) -> None:
    """Without a handle: to the new copy, unless this drain is taken back."""
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("CMP_RM32_IMM8", At("RAX", table.DIRECTION), 0)
    code.go(otherwise, "JE")


# A function that only uses handles

_PUSHED: Final = ("RAX", "RCX", "RDX")
_BACK: Final = At("RSP", _WORD * len(_PUSHED))
_LIVE: Final = {"RDX": At("RSP", 0), "RCX": At("RSP", _WORD)}


def _live(argument: int) -> str | At:
    """Where an argument is while the dispatcher of a jump looks at it."""
    if argument > IN_REGISTERS:
        return At("RSP", _BACK.offset + _WORD * (argument - IN_REGISTERS))
    register = frame.ARGUMENTS[argument - 1]
    return _LIVE.get(register, register)


def _jumping(grounds: Grounds, routines: Routines, one: Wanted) -> Assembly:
    code = Assembly()
    code.push(*_PUSHED)
    _unless_from_old(code, grounds, _BACK, framed=False)
    if not one.rule.by:
        _by_direction(code, grounds, "own")
    told = grounds.tells is not None and one.rule is not ASK_ALL
    note = told or (len(one.rule.by) == 1 and not one.rule.borrowed)
    meet = routines.of(one.rule)
    for place in one.rule.by:
        load(code, _live(place.argument), place.offsets, f"{place} is null")
        _asked(code, grounds, meet, str(place), note=note)
        code.label(f"{place} is null")
    if len(one.rule.by) > 1 or (one.rule.by and not note):
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


def _asked(code: Assembly, grounds: Grounds, meet: int, name: str, *, note: bool) -> None:
    """Go to `other` or `own`, or on where a handle is unknown and shall not be noted."""
    find(code, grounds, f"{name} is missing")
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
    code.go("other", "JNE")
    if note:
        code.add("INC_RM32", At("RCX", table.USES))
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.OLD)
        code.go("own", "JNE")
    code.label(f"{name} is missing")
    if note:
        code.call(meet)
        code.add("CMP_RM8_IMM8", "DL", table.NEW)
        code.go("other", "JE")


# A function that makes or ends objects, or changes their doubles


def _framed(grounds: Grounds, routines: Routines, one: Wanted) -> Assembly:
    code, rule = Assembly(), one.rule
    code.push("RBP")
    code.add("MOV_R64_RM64", "RBP", "RSP")
    size = frame.FRAME + (frame.VECTORS if rule.doubled else 0)
    code.add("SUB_RM64_IMM32", "RSP", size)
    for register, place in frame.SAVED.items():
        code.add("MOV_RM64_R64", place, register)
    code.add("MOV_RM64_IMM32", frame.HANDLE, 0)
    if grounds.doubles:
        code.add("MOV_RM64_IMM32", frame.DOUBLE, 0)
    _unless_from_old(code, grounds, frame.BACK, framed=True)
    _choose(code, grounds, routines, one)
    if rule.doubled:
        doubles.call_on_doubles(code, grounds, rule, one.old, one.new)
    if rule.ends:
        _mark(code, grounds)
    frame.call(code, rule.copied)
    code.add("MOV_RM64_R64", frame.SAVED["RAX"], "RAX")
    code.add("MOV_RM64_R64", frame.SECOND, "RDX")
    _note_what_came(code, grounds, routines, rule)
    if one.undo:
        doubles.end_orphan(code, one.undo)
    code.add("MOV_R64_RM64", "RAX", frame.SAVED["RAX"])
    code.add("MOV_R64_RM64", "RDX", frame.SECOND)
    code.add("LEAVEQ")
    code.add("RETNQ")
    if _among(grounds, rule):
        code.label("neither")
        code.add("MOV_RM64_IMM32", "RAX", rule.failure or 0)
        code.add("LEAVEQ")
        code.add("RETNQ")
    code.label("own")
    for register in ("RAX", "RCX"):
        code.add("MOV_R64_RM64", register, frame.SAVED[register])
    code.add("LEAVEQ")
    code.away(one.old)
    return code


def _among(grounds: Grounds, rule: Rule) -> bool:
    """Whether it matters if objects of both copies meet: some have doubles, or it is refused."""
    return len(rule.by) > 1 and (grounds.doubles or rule.failure is not None)


def _choose(code: Assembly, grounds: Grounds, routines: Routines, one: Wanted) -> None:
    """Which function to call, and the state that what it makes will have."""
    rule = one.rule
    among = _among(grounds, rule)
    if among:
        doubles.choose_among(code, grounds, rule, routines.of(rule))
    for place in () if among else rule.by:
        load(code, frame.kept(place.argument), place.offsets, f"{place} is null")
        code.add("MOV_RM64_R64", frame.HANDLE, "RAX")
        find(code, grounds, f"{place} is missing")
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
        code.go("the new one", "JNE")
        code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.OLD)
        code.go(f"{place} is null", "JNE")
        code.label(f"{place} is missing")
        code.call(routines.of(rule))
        code.add("CMP_RM8_IMM8", "DL", table.NEW)
        code.go("the new one", "JE")
        code.label(f"{place} is null")
    if rule.gives or rule.doubled:  # by itself, or of nothing
        code.add("CMP_RM64_IMM8", frame.HANDLE, 0)
        code.go("the old one", "JNE")
        _by_direction(code, grounds, "the old one")
        code.add("CMP_RM32_IMM32", At("RAX", table.COUNT), table.MOST_MADE)
        code.go("the old one", "JAE")
        code.go("the new one")
    code.label("the old one")
    code.add("MOV_RM64_IMM32", frame.STATE, table.OLD)
    code.add("MOV_R64_IMM64", "RAX", one.old)
    code.go("chosen")
    code.label("the new one")
    code.add("MOV_RM64_IMM32", frame.STATE, table.NEW)
    code.add("MOV_R64_IMM64", "RAX", one.new)
    code.label("chosen")
    code.add("MOV_RM64_R64", frame.TARGET, "RAX")


def _mark(code: Assembly, grounds: Grounds) -> None:
    """The object is about to end. Calls meanwhile still find it; a new one clears the mark."""
    code.add("MOV_R64_RM64", "RAX", frame.HANDLE)
    code.add("TEST_RM64_R64", "RAX", "RAX")
    code.go("nothing to mark", "JE")
    find(code, grounds, "nothing to mark")
    code.add("OR_RM8_IMM8", At("RCX", table.STATE), table.ENDING, lock=True)
    code.label("nothing to mark")


def _note_what_came(code: Assembly, grounds: Grounds, routines: Routines, rule: Rule) -> None:
    """What was made is the new copy's or the old one's; what was ended is gone."""
    _unless_so(code, rule)
    if rule.ends:
        _forget(code, grounds, counted=rule.counted)
    for number, place in enumerate(rule.gives):
        load(code, frame.kept(place.argument), place.offsets, f"none {number}")
        if rule.borrowed and not rule.lent:
            _unless_known(code, grounds, number)
        code.add("MOV_R64_RM64", "RDX", frame.STATE)
        if rule.borrowed:
            code.add("OR_RM32_IMM8", "EDX", table.GIVEN_BACK)
        code.call(routines.note)
        if grounds.doubles:
            doubles.note_double(code, grounds)
        code.label(f"none {number}")
    for place in rule.parts:
        load(code, frame.kept(place.argument), place.offsets, f"no part {place}")
        code.add("MOV_R64_RM64", "RDX", frame.STATE)
        code.add("OR_RM32_IMM8", "EDX", table.GIVEN_BACK)
        code.call(routines.note)
        if grounds.doubles:
            doubles.note_double(code, grounds)
        code.label(f"no part {place}")
    if rule.ends and rule.when is not When.ALWAYS:
        code.go("done")
        code.label("not so")
        code.add("MOV_R64_RM64", "RAX", frame.HANDLE)
        find(code, grounds, "done")
        code.add("AND_RM8_IMM8", At("RCX", table.STATE), ~table.ENDING, lock=True)
        code.label("done")
    else:
        code.label("not so")


def _unless_so(code: Assembly, rule: Rule) -> None:
    """Go to `not so` where it has done nothing, by its result or by what was asked for."""
    if rule.when is not When.ALWAYS:
        code.add("CMP_RM32_IMM8", frame.SAVED["RAX"], 0)
        code.go("not so", "JNE" if rule.when is When.ZERO else "JE")
    if rule.only is not None:
        argument, value = rule.only
        code.add("CMP_RM32_IMM32", frame.kept(argument), value)
        code.go("not so", "JNE")


def _unless_known(code: Assembly, grounds: Grounds, number: int) -> None:
    """Go on where an object was handed out without a reference, and its state is not known yet."""
    find(code, grounds, f"not known {number}")
    code.add("MOV_R64_RM64", "RDX", frame.STATE)
    code.add("TEST_RM8_R8", At("RCX", table.STATE), "DL")
    code.go(f"none {number}", "JNE")
    code.label(f"not known {number}")


def _forget(code: Assembly, grounds: Grounds, *, counted: bool) -> None:
    """Gone, unless its address was given to another object meanwhile: then the mark is gone."""
    code.add("MOV_R64_RM64", "RAX", frame.HANDLE)
    find(code, grounds, "not known")
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
