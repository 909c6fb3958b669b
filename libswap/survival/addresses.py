"""Addresses of code that objects keep, and that new code takes for its own.

An address that old code stored leads to old code for ever. Called, it goes on to the new code; but
compared with an address of the new code it is another one, and jumped to it is in the old function.
"""

from collections.abc import Iterator
from typing import Final

from libswap.survival.accesses import LOST_BY_CALLS
from libswap.survival.code import Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.functions import Bodies, Body
from libswap.survival.steps import ADDRESS, CALL, CALL_AT, COMPARE, NONE, RIP, STORE, Step

_SHOWN: Final = 4


def compared(bodies: Bodies) -> Iterator[Evidence]:
    """Functions that compare what they are handed with the address of another function.

    A function that stores the address as well prepares an object anew where it finds another one;
    so does one that looks for its own address.
    """
    code = bodies.code
    for function in code.functions:
        looked_for, stored = _uses(bodies.of(function), code.by_start)
        for other in looked_for:
            if other != function and other not in stored:
                yield Evidence(
                    "address-compared", Weight.DOUBT, function.name or f"{function.start:#x}",
                    "an address that the old library stored",
                    f"compared with that of {other.name or f'{other.start:#x}'}",
                )  # fmt: skip


def _uses(
    body: Body, functions: dict[int, Function]
) -> tuple[tuple[Function, ...], frozenset[Function]]:
    """The functions whose address is compared with something, and those whose is stored."""
    held: dict[int, Function] = {}
    looked_for: dict[Function, None] = {}
    stored: set[Function] = set()
    for step in body.steps:
        if step.kind == ADDRESS and step.base == RIP and step.offset in functions:
            held[step.target] = functions[step.offset]
        elif step.kind == COMPARE:
            found = [held[r] for r in (step.target, step.source) if r in held]
            if len(found) == 1:
                looked_for[found[0]] = None
        elif step.kind == STORE and step.source in held:
            stored.add(held[step.source])
        else:
            _forget(held, step)
    return tuple(looked_for), frozenset(stored)


def _forget(held: dict[int, Function], step: Step) -> None:
    """Registers that are written; a call writes those that it may."""
    if step.kind in (CALL, CALL_AT):
        for register in LOST_BY_CALLS:
            held.pop(register, None)
    if step.target != NONE:
        held.pop(step.target, None)
    for register in [r for r in held if step.spoils >> r & 1]:
        del held[register]


def labels(bodies: Bodies) -> Iterator[Evidence]:
    """Places inside of functions whose addresses the data hold, as computed jumps use them."""
    code = bodies.code
    inside = [
        (to, function) for to in code.pointers.values()
        if to not in code.by_start and (function := code.holding(to)) is not None
    ]  # fmt: skip
    if inside:
        names = sorted({f.name or f"{f.start:#x}" for _, f in inside})
        yield Evidence(
            "label-addresses", Weight.DOUBT, ", ".join(names[:_SHOWN]),
            f"{len(inside)} places inside of functions whose addresses objects may hold",
            "other places",
        )  # fmt: skip
