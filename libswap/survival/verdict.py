"""The rule that leads from the evidence to the verdict."""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from libswap.survival.evidence import Compared, Evidence, Weight

_RECOGNISED: Final = 0.6
"""The part of the fields reached by the old code that the new code must reach as well, before no
contradiction means anything."""


class Verdict(Enum):
    """Whether objects that the old code made survive in the new code, best first."""

    PROVEN = "proven"
    LIKELY = "likely"
    UNKNOWN = "unknown"
    UNSAFE = "unsafe"


def verdict(
    evidence: Iterable[Evidence], compared: Compared | None, *, identical: bool = False
) -> Verdict:
    """The verdict on two files.

    Args:
        evidence: all that was found; conditions are for a live plan to settle.
        compared: how much code was seen; None where none could be.
        identical: code and data are the same but for the build id, which proves it where the code
            was seen: it keeps no addresses of itself that the other copy would not know.
    """
    weights = {e.weight for e in evidence}
    if Weight.DANGER in weights:
        return Verdict.UNSAFE
    if Weight.DOUBT in weights:
        return Verdict.UNKNOWN
    if identical:
        return Verdict.PROVEN if compared is not None else Verdict.LIKELY
    return Verdict.LIKELY if compared is not None and enough(compared) else Verdict.UNKNOWN


def enough(compared: Compared) -> bool:
    """Whether so much of the code was recognised that no contradiction says something."""
    if compared.unseen or not compared.functions:
        return False
    if compared.types:
        return True
    if 2 * compared.identical >= compared.functions:
        return True
    return compared.kept >= _RECOGNISED * (compared.kept + compared.lost)
