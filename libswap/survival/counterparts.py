"""What two files have in common although no symbol names it: functions, and writable data."""

import time
from collections.abc import Sequence

from libswap.elf.format import EM_X86_64
from libswap.elf.nameless import NOTHING, Nameless
from libswap.linux.memory import Range
from libswap.survival.code import Code
from libswap.survival.examination import Source
from libswap.survival.functions import Bodies
from libswap.survival.layout import Layout, Side
from libswap.survival.roles import Roles
from libswap.survival.steps import Steps
from libswap.survival.texts import Texts, TooLong


def counterparts(
    old: Source, new: Source, places: Sequence[Range], others: Sequence[Range], *, seconds: float
) -> Nameless:
    """Find them.

    Args:
        old: the file in use.
        new: the file to be used.
        places: writable data of the old file that no symbol names.
        others: that of the new file.
        seconds: of processor time, after which nothing is found.

    Raises:
        InvalidElf: one of the files is damaged.
        MissingTool: iced-x86 is not installed.
    """
    headers = old.image.header, new.image.header
    if any(h.machine != EM_X86_64 or h.bits != 64 for h in headers):
        return NOTHING
    deadline, decoder = time.process_time() + seconds, Steps()
    before, after = (Texts(Bodies(Code(s.image, s.symbols), decoder), deadline) for s in (old, new))
    try:
        roles = Roles(before, after)
        roles.find()
        layout = Layout(roles, Side(before, tuple(places)), Side(after, tuple(others)))
        return Nameless(
            layout.stretches, layout.doubts,
            tuple((a, b) for a, b in sorted(roles.functions.items())
                  if a in before.taken and b in after.taken),
            tuple(sorted(layout.users)),
        )  # fmt: skip
    except TooLong:
        return Nameless(whole=False)
