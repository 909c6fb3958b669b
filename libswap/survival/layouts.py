"""Structures of two libraries, as debug information describes them: what moved, grew or came in."""

from collections.abc import Iterator
from typing import Final

from libswap.elf.records import Layout, Member, Records
from libswap.survival.evidence import Evidence, Weight

_SHOWN: Final = 6


def compared(old: Records, new: Records) -> tuple[int, tuple[Evidence, ...]]:
    """Every structure that is another one; where there is none, how many are alike."""
    changed = tuple(
        evidence
        for weight, ones, others in (
            (Weight.DANGER, old.handled, {**new.used, **new.handled}),
            (Weight.DOUBT, old.used, {**new.used, **new.handled}),
        )
        for name in sorted(ones.keys() & others.keys())
        if (evidence := _pair(name, ones[name], others[name], weight)) is not None
    )
    if changed:
        return 0, changed
    alike = len(old.handled.keys() & new.handled.keys())
    what = f"{alike} structures that exported functions handle"
    note = Evidence("types-alike", Weight.NOTE, "debug information", what, "the same layouts")
    return alike, (note,) if alike else ()


def _pair(
    name: str, ones: frozenset[Layout], others: frozenset[Layout], weight: Weight
) -> Evidence | None:
    if ones == others:
        return None
    if len(ones) != 1 or len(others) != 1:
        told = f"{len(ones)} structures of this name"
        return Evidence("type-changed", Weight.DOUBT, name, told, f"{len(others)}, not the same")
    [(size, members)], [(new_size, new_members)] = ones, others
    moved = list(_moved(members, new_members))
    if size != new_size or moved:
        before = [f"{size} bytes", *(_words(m) for m, _ in moved[:_SHOWN])]
        after = [f"{new_size} bytes", *(_words(m) for _, m in moved[:_SHOWN])]
        return Evidence("type-changed", weight, name, ", ".join(before), ", ".join(after))
    taken = [m for m in new_members if not any(_overlap(m, one) for one in members)]
    if taken:
        shown = ", ".join(map(_words, taken[:_SHOWN]))
        return Evidence("type-changed", Weight.DOUBT, name, "padding", shown)
    return None


def _moved(old: tuple[Member, ...], new: tuple[Member, ...]) -> Iterator[tuple[Member, Member]]:
    """Members of the same name in another place, or of another size."""
    places = {m.name: m for m in new if m.name}
    for member in old:
        other = places.get(member.name)
        if other is not None and (member.start, member.size) != (other.start, other.size):
            yield member, other


def _overlap(one: Member, other: Member) -> bool:
    return one.start < other.start + other.size and other.start < one.start + one.size


def _words(member: Member) -> str:
    place = f"{member.start // 8}" + (f".{member.start % 8}" if member.start % 8 else "")
    size = f"{member.size // 8} bytes" if member.size % 8 == 0 else f"{member.size} bits"
    return f"{member.name or 'a member'} at {place} ({size})"
