"""x86-64: objects that both copies have, so that each can be given one of its own.

A new object's double is the old copy's. It is made, changed and ended by the same calls, which the
old copy runs first; and it takes the new object's place where that meets an old one.
"""

from libswap.live.arch.x86_64_assembly import Assembly, At
from libswap.live.arch.x86_64_frame import (
    DOUBLE,
    NEWS,
    OLDS,
    STATE,
    TARGET,
    call,
    keep_vectors,
    kept,
    own,
    restore_vectors,
)
from libswap.live.arch.x86_64_lookup import Grounds, double, find, load
from libswap.live.draining import table
from libswap.live.draining.handles import IN_REGISTERS, Place, Rule, When


def _replaceable(grounds: Grounds, place: Place) -> bool:
    """Whether another handle can be put there for one call."""
    return grounds.doubles and place.argument <= IN_REGISTERS and not place.offsets


def choose_among(code: Assembly, grounds: Grounds, rule: Rule, meet: int) -> None:
    """Of several handles: go to `the new one` or `the old one`, or on where all are null.

    Where objects of both copies meet, doubles take the places of the new ones; go to `neither`
    where one has none.
    """
    for seen in (OLDS, NEWS):
        code.add("MOV_RM64_IMM32", seen, 0)
    for place in rule.by:
        _count(code, grounds, place, meet)
    code.add("CMP_RM64_IMM8", NEWS, 0)
    code.go("some are new", "JNE")
    code.add("CMP_RM64_IMM8", OLDS, 0)
    code.go("the old one", "JNE")
    code.go("all are null")
    code.label("some are new")
    code.add("CMP_RM64_IMM8", OLDS, 0)
    code.go("the new one", "JE")
    for place in rule.by:
        _require(code, grounds, place)
    for place in rule.by:
        if _replaceable(grounds, place):
            _replace(code, grounds, place, "met")
    code.go("the old one")
    code.label("all are null")


def _count(code: Assembly, grounds: Grounds, place: Place, meet: int) -> None:
    load(code, kept(place.argument), place.offsets, f"{place} is counted")
    find(code, grounds, f"{place} is not known")
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
    code.go(f"{place} is new", "JNE")
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.OLD)
    code.go(f"{place} is old", "JNE")
    code.label(f"{place} is not known")
    code.call(meet)
    code.add("CMP_RM8_IMM8", "DL", table.NEW)
    code.go(f"{place} is new", "JE")
    code.label(f"{place} is old")
    code.add("MOV_RM64_IMM32", OLDS, 1)
    code.go(f"{place} is counted")
    code.label(f"{place} is new")
    code.add("MOV_RM64_IMM32", NEWS, 1)
    code.label(f"{place} is counted")


def _require(code: Assembly, grounds: Grounds, place: Place) -> None:
    """Go to `neither` if it is a new one without a double."""
    load(code, kept(place.argument), place.offsets, f"{place} needs none")
    find(code, grounds, f"{place} needs none")
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
    code.go(f"{place} needs none", "JE")
    if _replaceable(grounds, place):
        double(code, grounds)
        code.add("CMP_RM64_IMM8", At("RDX"), 0)
        code.go("neither", "JE")
    else:
        code.go("neither")
    code.label(f"{place} needs none")


def _replace(code: Assembly, grounds: Grounds, place: Place, why: str) -> None:
    """Put its double there, if it is a new one."""
    done = f"{place} stays, {why}"
    load(code, kept(place.argument), (), done)
    find(code, grounds, done)
    code.add("TEST_RM8_IMM8", At("RCX", table.STATE), table.NEW)
    code.go(done, "JE")
    double(code, grounds)
    code.add("MOV_R64_RM64", "RAX", At("RDX"))
    code.add("MOV_RM64_R64", kept(place.argument), "RAX")
    code.label(done)


def call_on_doubles(code: Assembly, grounds: Grounds, rule: Rule, old: int, new: int) -> None:
    """Before a call of the new copy: what it does to the objects, done to their doubles."""
    code.add("CMP_RM64_IMM8", STATE, table.NEW)
    code.go("no doubles", "JNE")
    code.add("MOV_R64_IMM64", "RAX", grounds.table)
    code.add("CMP_RM32_IMM8", At("RAX", table.SETTLED), 0)
    code.go("no doubles", "JNE")
    if rule.twice is not None:
        argument, value = rule.twice
        code.add("CMP_RM64_IMM32", kept(argument), value)
        code.go("no doubles", "JNE")
    for place in rule.by:
        _has_double(code, grounds, place)
    for place in rule.by:
        code.add("MOV_R64_RM64", "RAX", kept(place.argument))
        code.add("MOV_RM64_R64", own(place.argument), "RAX")
        _replace(code, grounds, place, "doubled")
    keep_vectors(code)
    _run(code, rule, old)
    _keep(code, rule)
    restore_vectors(code)
    for place in rule.by:
        code.add("MOV_R64_RM64", "RAX", own(place.argument))
        code.add("MOV_RM64_R64", kept(place.argument), "RAX")
    if rule.ends:
        _forget(code, grounds, rule.by[0])
    code.add("MOV_RM64_IMM32", STATE, table.NEW)
    code.add("MOV_R64_IMM64", "RAX", new)
    code.add("MOV_RM64_R64", TARGET, "RAX")
    code.label("no doubles")


def _has_double(code: Assembly, grounds: Grounds, place: Place) -> None:
    load(code, kept(place.argument), (), f"{place} has one")
    find(code, grounds, f"{place} has none")
    double(code, grounds)
    code.add("CMP_RM64_IMM8", At("RDX"), 0)
    code.go(f"{place} has one", "JNE")
    code.label(f"{place} has none")
    code.go("no doubles")
    code.label(f"{place} has one")


def _run(code: Assembly, rule: Rule, old: int) -> None:
    """The old copy's function, which may end in a jump to another of the old copy's."""
    code.add("MOV_RM64_IMM32", STATE, table.OLD)
    code.add("MOV_R64_IMM64", "RAX", old)
    code.add("MOV_RM64_R64", TARGET, "RAX")
    call(code, rule.copied)


def _keep(code: Assembly, rule: Rule) -> None:
    """What has come of it, if it has made something."""
    for place in rule.gives:
        if rule.when is not When.ALWAYS:
            code.add("TEST_RM32_R32", "EAX", "EAX")
            code.go("nothing was made", "JNE" if rule.when is When.ZERO else "JE")
        source = kept(place.argument) if place.argument else "RAX"
        load(code, source, place.offsets, "nothing was made")
        code.add("MOV_RM64_R64", DOUBLE, "RAX")
        code.label("nothing was made")


def _forget(code: Assembly, grounds: Grounds, place: Place) -> None:
    """The object has no double any more."""
    load(code, kept(place.argument), (), "forgotten")
    find(code, grounds, "forgotten")
    double(code, grounds)
    code.add("MOV_RM64_IMM32", At("RDX"), 0)
    code.label("forgotten")


def note_double(code: Assembly, grounds: Grounds) -> None:
    """With the new object's slot in rcx: it has this double, or none."""
    double(code, grounds)
    code.add("MOV_R64_RM64", "RAX", DOUBLE)
    code.add("MOV_RM64_R64", At("RDX"), "RAX")
    code.add("MOV_RM64_IMM32", DOUBLE, 0)


def end_orphan(code: Assembly, undo: int) -> None:
    """A double whose object the new copy has failed to make is ended by the old copy."""
    code.add("CMP_RM64_IMM8", DOUBLE, 0)
    code.go("no orphan", "JE")
    code.add("MOV_RM64_IMM32", STATE, table.OLD)
    code.add("MOV_R64_IMM64", "RAX", undo)
    code.add("MOV_RM64_R64", TARGET, "RAX")
    code.add("MOV_R64_RM64", "RDI", DOUBLE)
    code.add("XOR_R32_RM32", "EAX", "EAX")
    code.add("CALL_RM64", TARGET)
    code.forget_return()
    code.label("no orphan")
