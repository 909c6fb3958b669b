"""How large the objects are that code asks for, in functions and in whole files."""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from libswap.linux.budget import Budget
from libswap.survival.accesses import Profile
from libswap.survival.bodies import Bodies, Body
from libswap.survival.code import Function
from libswap.survival.evidence import Evidence, Weight
from libswap.survival.functions import Pairs
from libswap.survival.places import NUMBER
from libswap.survival.summaries import Summaries

_ALLOCATES: Final = "alloc"
_NEAR: Final = 64
"""Bytes by which a structure grows or shrinks; what differs by more is another structure."""
Size: TypeAlias = tuple[str, int]
"""The name of an allocator, and bytes."""


def sizes(profile: Profile) -> Iterator[Size]:
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


def resized(pairs: Pairs, old: Summaries, new: Summaries, budget: Budget) -> Iterator[Evidence]:
    """A size that the old file alone asks for, where the new one asks for another near it.

    This needs no function of the old file to be found in the new one. Where several sizes are
    asked for no longer, these are other structures, or a compiler computes them otherwise.
    """
    same = {a.start: b for a, b in _same(pairs)}
    kept, its = same.keys(), {b.start for b in same.values()}
    before = _asked(old, (f for f in old.bodies.code.functions if f.start not in kept), budget)
    after = _asked(new, (f for f in new.bodies.code.functions if f.start not in its), budget)
    if not any(_near(one, other) for one in before - after for other in after - before):
        return  # nobody has to look at what the same code asks for
    both = before & after | _asked(new, same.values(), budget)
    if budget.spent:
        return  # the verdict says that not all was looked at
    lost, gained = before - both, after - both
    for allocator in sorted({name for name, _ in lost}):
        ones = [one for one in lost if one[0] == allocator]
        others = [other for other in gained if any(_near(one, other) for one in ones)]
        if len(ones) == len(others) == 1:
            yield Evidence(
                "size-changed", Weight.DOUBT, f"all that calls {allocator}",
                f"{allocator} of {ones[0][1]} bytes", f"{others[0][1]} bytes",
            )  # fmt: skip


def _near(one: Size, other: Size) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= _NEAR


def _same(pairs: Pairs) -> Iterator[tuple[Function, Function]]:
    """Functions whose code is the same in both files, and so are the sizes that it asks for."""
    for old, new in pairs.functions.items():
        one, other = pairs.old.code.by_start[old], pairs.new.code.by_start[new]
        if pairs.old.of(one).exactly(pairs.new.of(other)):
            yield one, other


def _asked(summaries: Summaries, functions: Iterable[Function], budget: Budget) -> set[Size]:
    found: set[Size] = set()
    for function in functions:
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
