"""Addresses of code that objects keep, and that new code takes for its own.

An address that old code stored leads to old code for ever. Called, it goes on to the new code; but
compared with an address of the new code it is another one, and jumped to it is in the old function.
"""

from collections.abc import Iterator
from typing import Final

from libswap.linux.budget import Budget
from libswap.survival.accesses import Access, Probe, Profile
from libswap.survival.bodies import Bodies, Body
from libswap.survival.code import Code, Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.places import OWN
from libswap.survival.reach import reaches_data
from libswap.survival.step import ADDRESS
from libswap.survival.summaries import Summaries

_SHOWN: Final = 4


def compared(summaries: Summaries, budget: Budget) -> Iterator[Evidence]:
    """Functions that compare what they are handed with an address of the library."""
    bodies = summaries.bodies
    for number, function in enumerate(bodies.code.functions):
        if budget.spent:
            rest = len(bodies.code.functions) - number
            told = "not looked at: the time was used up"
            yield Evidence("address-compared", Weight.DOUBT, f"{rest} functions", told, "")
            return
        if not _may_probe(bodies, bodies.of(function)):
            continue
        profile = summaries.profile(function)
        for address in sorted({p.address for p in profile.probes if _counts(p, function, profile)}):
            yield Evidence(
                "address-compared", Weight.DOUBT, function.name or f"{function.start:#x}",
                "an address that the old library stored",
                f"compared with that of {_name(bodies.code, address)}",
            )  # fmt: skip


def _name(code: Code, address: int) -> str:
    function = code.by_start.get(address)
    if function is None:
        return f"data at {address:#x}"
    return function.name or f"{address:#x}"


def _may_probe(bodies: Bodies, body: Body) -> bool:
    """Whether it names an address, and compares something that is no number."""
    code, start = bodies.code, body.function.start
    named = any(
        step.kind == ADDRESS and (start + place in code.by_start
                                  or code.is_changeable(start + place))
        for (_, _, _, step, _), place in zip(body.form.references, body.places, strict=True)
    )  # fmt: skip
    return named and body.form.compares


def _counts(probe: Probe, function: Function, profile: Profile) -> bool:
    """Whether it matters that an old address is another one.

    Not where the function looks for its own address, or stores the one that it looks for: it
    prepares an object anew where it finds another. Nor where it calls what the field holds: a
    compiler that guesses which function that is puts a copy of it beside the call (gcc's
    -fdevirtualize-speculatively and -findirect-inlining), and the call does the same.
    """
    if probe.address == function.start or probe.address in profile.stored:
        return False
    if probe.field is None:
        return True
    path, offset = probe.field
    if path is OWN:
        return offset not in profile.called
    return Access(path, offset, 0) not in profile.accesses


def labels(bodies: Bodies) -> Iterator[Evidence]:
    """Places inside of functions whose addresses the data hold, as computed jumps use them."""
    inside = _labelled(bodies.code)
    if inside:
        names = sorted({f.name or f"{f.start:#x}" for _, f in inside})
        yield Evidence(
            "label-addresses", Weight.DOUBT, ", ".join(names[:_SHOWN]),
            f"{len(inside)} places inside of functions whose addresses objects may hold",
            "other places",
        )  # fmt: skip


def labels_reach_data(bodies: Bodies) -> bool:
    """Whether code behind such places uses data of which each copy of the library has its own."""
    return reaches_data(bodies, {f.start for _, f in _labelled(bodies.code)})


def _labelled(code: Code) -> list[tuple[int, Function]]:
    return [
        (to, function) for to in code.pointers.values()
        if to not in code.by_start and (function := code.holding(to)) is not None
    ]  # fmt: skip
