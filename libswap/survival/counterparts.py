"""What two files have in common although no symbol names it: functions, and writable data."""

from collections.abc import Sequence

from libswap.elf.nameless import NOTHING, Nameless
from libswap.linux.budget import Budget, TooLong
from libswap.linux.memory import Range
from libswap.linux.scheduling import without_collection
from libswap.survival.layout import Layout, Side
from libswap.survival.roles import Roles
from libswap.survival.sources import Source, bodies
from libswap.survival.texts import Texts


def counterparts(
    old: Source, new: Source, places: Sequence[Range], others: Sequence[Range], *, seconds: float
) -> Nameless:
    """Find them.

    Args:
        old: the file in use.
        new: the file to be used.
        places: writable data of the old file that no symbol names.
        others: that of the new file.
        seconds: of this thread's processor time, after which nothing is found.

    Raises:
        InvalidElf: one of the files is damaged.
        MissingTool: iced-x86 is not installed.
    """
    if not (old.readable and new.readable):
        return NOTHING
    budget = Budget.of(seconds)
    with without_collection():
        before, after = (Texts(one, budget) for one in bodies(old, new))
        return _found(Roles(before, after), places, others)


def _found(roles: Roles, places: Sequence[Range], others: Sequence[Range]) -> Nameless:
    before, after = roles.old, roles.new
    try:
        roles.find()
        layout = Layout(roles, Side(before, tuple(places)), Side(after, tuple(others)))
        return Nameless(
            layout.stretches, layout.doubts, layout.choices,
            tuple((a, b) for a, b in sorted(roles.functions.items())
                  if a in before.taken and b in after.taken),
            tuple(sorted(layout.users)),
        )  # fmt: skip
    except TooLong:
        return Nameless(whole=False)
