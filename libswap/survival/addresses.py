"""Addresses of code that objects keep, and that new code takes for its own.

An address that old code stored leads to old code for ever. Called, it goes on to the new code; but
compared with an address of the new code it is another one, and jumped to it is in the old function.
"""

from collections.abc import Iterator
from typing import Final

from libswap.survival.code import Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.functions import Bodies, Body
from libswap.survival.steps import ADDRESS, CALL, CALL_AT, COMPARE, NONE, RIP, Step

_SHOWN: Final = 4


def compared(bodies: Bodies) -> Iterator[Evidence]:
    """Functions that compare what they are handed with the address of another function.

    A function that looks for its own address asks whether it prepared an object itself, and
    prepares it anew if not.
    """
    code = bodies.code
    for function in code.functions:
        for other in _looked_for(bodies.of(function), code.by_start):
            if other != function:
                yield Evidence(
                    "address-compared", Weight.DOUBT, function.name or f"{function.start:#x}",
                    "an address that the old library stored",
                    f"compared with that of {other.name or f'{other.start:#x}'}",
                )  # fmt: skip


def _looked_for(body: Body, functions: dict[int, Function]) -> Iterator[Function]:
    held: dict[int, Function] = {}
    for step in body.steps:
        if step.kind == ADDRESS and step.base == RIP and step.offset in functions:
            held[step.target] = functions[step.offset]
        elif step.kind == COMPARE:
            found = [held[r] for r in (step.target, step.source) if r in held]
            if len(found) == 1:
                yield found[0]
        else:
            _forget(held, step)


def _forget(held: dict[int, Function], step: Step) -> None:
    """Registers that are written; a call writes those that it may."""
    if step.kind in (CALL, CALL_AT):
        held.clear()
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
