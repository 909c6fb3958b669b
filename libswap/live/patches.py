"""What a process's record says about function patches."""

from collections.abc import Sequence
from dataclasses import dataclass

from libswap.live.facts import Hex


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """One function that a patch replaces. Addresses are absolute, bytes in hexadecimal.

    Attributes:
        label: what to call the function.
        address: of its entry.
        size: of the function in bytes.
        before: what stood at the entry before this patch.
        after: the jump to the new function.
        code: address of the new function.
        code_size: its size in bytes.
        chained: whether the patch itself calls what stood there before.
    """

    label: str
    address: int
    size: int
    before: Hex
    after: Hex
    code: int
    code_size: int
    chained: bool


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """A part of a patch's memory that never changes.

    Attributes:
        sha256: of its bytes, in hexadecimal.
    """

    address: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PatchRecord:
    """One patch that was applied.

    Attributes:
        id: of this application, unique in this process and its forks.
        patch: the checksum of the patch file, in hexadecimal.
        description: the author's words.
        when: seconds since the epoch.
        module: path of the module it changes.
        base: that module's load base.
        memory: where the patch lies.
        size: of that, with its gates, in bytes.
        gates: offset in it of the room for gates, 0 for none.
        entries: what it replaces.
        regions: what `verify` compares.
        pre_revert: address of its hook, 0 for none.
        state: "applied", "reverted" or "replaced" (by a newer one).
        unwinder: address of the function that was told of its unwind table, 0 for none.
    """

    id: str
    patch: str
    description: str
    when: float
    module: str
    base: int
    memory: int
    size: int
    gates: int
    entries: tuple[EntryRecord, ...]
    regions: tuple[RegionRecord, ...]
    pre_revert: int
    state: str
    unwinder: int = 0

    @property
    def active(self) -> bool:
        """Whether its functions are in force, or would be without a later patch."""
        return self.state == "applied"


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """One entry in a switch; bytes in hexadecimal, `gate` empty where there is none."""

    entry: int
    now: Hex
    gate: Hex
    after: Hex


@dataclass(frozen=True, slots=True)
class SwitchRecord:
    """A change of patches that has begun.

    Attributes:
        word: address of the word that decides, 0 where a single write does.
        area: where the gates lie.
        area_size: in bytes.
        changes: every entry that takes part.
        done: the patches when it is finished.
    """

    word: int
    area: int
    area_size: int
    changes: tuple[ChangeRecord, ...]
    done: tuple[PatchRecord, ...]


def remembered(patches: Sequence[PatchRecord], most: int = 64) -> tuple[PatchRecord, ...]:
    """All that are in force, and of the others the last ones: a record must not grow for ever."""
    gone = [p for p in patches if not p.active]
    forgotten = {p.id for p in gone[: max(len(gone) - most, 0)]}
    return tuple(p for p in patches if p.id not in forgotten)
