"""How large the objects are that code asks for, in functions and in whole files."""

from collections.abc import Iterator
from typing import Final

from libswap.linux.budget import Budget
from libswap.survival.accesses import Profile
from libswap.survival.bodies import Bodies, Body
from libswap.survival.code import Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.places import NUMBER
from libswap.survival.summaries import Summaries

_ALLOCATES: Final = "alloc"
_NEAR: Final = 64
"""Bytes by which a structure grows or shrinks; what differs by more is another structure."""


def sizes(profile: Profile) -> Iterator[tuple[str, int]]:
    """(allocator, bytes) for each allocation of a fixed size."""
    for call in profile.calls:
        name = call.goal if isinstance(call.goal, str) else call.goal.name
        if _ALLOCATES not in name.lower():
            continue
        numbers = [
            value[1] for value in call.arguments[:2] if value is not None and value[0] is NUMBER
        ]
        if "calloc" in name.lower() and len(numbers) == 2:
            yield name, numbers[0] * numbers[1]
        elif numbers:
            yield name, numbers[0]


def resized(old: Summaries, new: Summaries, budget: Budget) -> Iterator[Evidence]:
    """A size that the old file alone asks for, where the new one asks for another near it.

    This needs no function of the old file to be found in the new one. Where several sizes are
    asked for no longer, these are other structures, or a compiler computes them otherwise.
    """
    before, after = _asked(old, budget), _asked(new, budget)
    if budget.spent:
        return  # the verdict says that not all was looked at
    for allocator in sorted({name for name, _ in before}):
        ones, others = ({n for name, n in sides if name == allocator} for sides in (before, after))
        lost = ones - others
        near = [n for n in others - ones if any(abs(n - one) <= _NEAR for one in lost)]
        if len(lost) == len(near) == 1:
            yield Evidence(
                "size-changed", Weight.DOUBT, f"all that calls {allocator}",
                f"{allocator} of {min(lost)} bytes", f"{near[0]} bytes",
            )  # fmt: skip


def _asked(summaries: Summaries, budget: Budget) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for function in summaries.bodies.code.functions:
        if budget.spent:
            break
        if _names_allocator(summaries.bodies, summaries.bodies.of(function)):
            found.update(sizes(summaries.profile(function)))
    return found


def _names_allocator(bodies: Bodies, body: Body) -> bool:
    for named in bodies.named(body).values():
        name = named.name if isinstance(named, Function) else named
        if isinstance(name, str) and _ALLOCATES in name.lower():
            return True
    return False
