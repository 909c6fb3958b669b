"""One thing that speaks for or against old objects in new code, in a form that can be checked."""

from dataclasses import dataclass
from enum import Enum


class Weight(Enum):
    """What a piece of evidence does to the verdict."""

    DANGER = "danger"
    """Old objects are not what the new code takes them for."""
    DOUBT = "doubt"
    """They may not be; it could not be told apart from a harmless change."""
    CONDITION = "condition"
    """The verdict holds where this is so in the process: a live plan looks, and refuses if not."""
    NOTE = "note"
    """Worth knowing; it changes nothing."""


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """One difference.

    Attributes:
        kind: its name, as docs/reference/findings.md lists it.
        weight: what it does to the verdict.
        subject: a function, a type, a table or an object of the libraries.
        old: what the old library has: offsets and sizes in bytes.
        new: what the new library has.
    """

    kind: str
    weight: Weight
    subject: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Compared:
    """How much of the code was seen.

    Attributes:
        functions: of the old library.
        identical: the same but for the addresses in them.
        alike: changed, and doing the same with their objects as far as could be seen.
        changed: doing something else with them.
        unpaired: without a counterpart of their own; they are seen in whoever calls them.
        unseen: left out because the time for it was used up.
        kept: fields of objects that changed functions reach in both libraries.
        lost: fields that they reach in the old one only.
        types: structures that the debug information of both describes alike; 0 where any differs.
    """

    functions: int = 0
    identical: int = 0
    alike: int = 0
    changed: int = 0
    unpaired: int = 0
    unseen: int = 0
    kept: int = 0
    lost: int = 0
    types: int = 0
