"""Functions that objects keep, and whose results new code takes for something else.

A function without a name, whose address old code gave to an object, goes on in old code where the
new file has none like it. The new code that calls it expects what its own function gives back.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from libswap.linux.budget import Budget
from libswap.survival.bodies import Bodies, Body
from libswap.survival.code import Function
from libswap.survival.comparison import label
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.functions import Pairs, names
from libswap.survival.step import ADDRESS, CALL_AT
from libswap.survival.summaries import Summaries

_SHOWN: Final = 4
_CALLED_AT: Final = re.compile(rb"\xff[\x10-\x17\x50-\x57\x90-\x97\xd0-\xd7]")
"""CALL r/m64 in all forms of ModRM (Intel SDM, volume 2)."""
_Numbers: TypeAlias = Mapping[int, AbstractSet[int]]
"""Offset of a field -> numbers that the results of the functions that it holds are compared with.
Fields whose functions are called are there, if without a number."""


def kept(pairs: Pairs, old: Summaries, new: Summaries, budget: Budget) -> Iterator[Evidence]:
    """Those of the old file."""
    given = _given(pairs, old, budget)
    if not given:
        return
    before = _compared(((old, f) for f in old.bodies.code.functions), budget)
    after = _compared(_once(pairs, old, new), budget)
    if budget.spent:
        return  # the verdict says that not all was looked at
    for start, offsets in sorted(given.items()):
        for at in sorted(offsets & after.keys()):
            ones, others = before.get(at, set()), after[at]
            if ones != others:
                yield Evidence(
                    "kept-function", Weight.DOUBT, label(old.bodies.code.by_start[start]),
                    f"objects keep it at {at}, callers compare its result with {_listed(ones)}",
                    f"with {_listed(others)}",
                )  # fmt: skip


def _listed(numbers: AbstractSet[int]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:_SHOWN]))
    return (shown + (" …" if len(numbers) > _SHOWN else "")) or "no number"


def _given(pairs: Pairs, old: Summaries, budget: Budget) -> Mapping[int, set[int]]:
    """Where functions begin that have no like in the new file -> where in objects they are put."""
    found: dict[int, set[int]] = defaultdict(set)
    for function in old.bodies.code.functions:
        if budget.spent:
            break
        if _names_functions(old.bodies, old.bodies.of(function)):
            for start, offset in old.profile(function).handlers:
                found[start].add(offset)
    stay = _without_likes(pairs, found.keys())
    return {start: offsets for start, offsets in found.items() if start in stay}


def _names_functions(bodies: Bodies, body: Body) -> bool:
    start = body.function.start
    return any(
        step.kind == ADDRESS and start + place in bodies.code.by_start
        for (_, _, _, step, _), place in zip(body.form.references, body.places, strict=True)
    )


def _without_likes(pairs: Pairs, starts: Iterable[int]) -> set[int]:
    """Functions of which the new file has none of the same name or the same code."""
    new, known = pairs.new, names(pairs.new.code)
    by_start = pairs.old.code.by_start
    bodies = {
        at: pairs.old.of(by_start[at]) for at in starts
        if not by_start[at].exported and by_start[at].name not in known
    }  # fmt: skip
    outlines = {body.form.outline for body in bodies.values()}
    forms = [new.of(f).form for f in new.code.functions] if bodies else []
    codes = {form.exact for form in forms if form.outline in outlines}
    found = set()
    for at, body in bodies.items():
        other = new.code.by_start.get(pairs.functions.get(at, -1))
        if not (body.exactly(new.of(other)) if other else body.form.exact in codes):
            found.add(at)
    return found


def _once(pairs: Pairs, old: Summaries, new: Summaries) -> Iterator[tuple[Summaries, Function]]:
    """The functions of the new file; where the old one has the same code, that was looked at."""
    by_start = old.bodies.code.by_start
    back = {there: by_start[at] for at, there in pairs.functions.items()}
    for function in new.bodies.code.functions:
        twin = back.get(function.start)
        if twin and old.bodies.of(twin).form is new.bodies.of(function).form:
            yield old, twin
        else:
            yield new, function


def _compared(functions: Iterable[tuple[Summaries, Function]], budget: Budget) -> _Numbers:
    found: dict[int, set[int]] = defaultdict(set)
    for summaries, function in functions:
        if budget.spent:
            break
        if not _CALLED_AT.search(summaries.bodies.code.text(function)):
            continue  # most have none, and are not taken apart for it
        if CALL_AT in summaries.bodies.of(function).form.kinds:
            profile = summaries.profile(function)
            for access in profile.accesses:
                if not access.width:
                    found[access.offset] |= set()
            for offset, number in profile.answers:
                found[offset].add(number)
    return found
