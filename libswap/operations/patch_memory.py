"""Where a patch lies in a process: in the memory that it had before, or in new memory."""

import hashlib
from dataclasses import dataclass

from libswap.errors.patch import PatchUnlinkable
from libswap.errors.process import MemoryUnreachable
from libswap.live.patches import PatchRecord, RegionRecord
from libswap.live.subject import Subject
from libswap.operations.patch_entries import record_of
from libswap.operations.patch_plan import Plan
from libswap.operations.patch_values import Values
from libswap.patch.bind import BoundRegion, Entry, bind
from libswap.patch.patch import Protection


@dataclass(frozen=True, slots=True)
class Lodging:
    """A patch in its place.

    Attributes:
        memory: where.
        regions: its bytes there.
    """

    memory: int
    regions: tuple[BoundRegion, ...]

    def constant(self) -> tuple[RegionRecord, ...]:
        """What `verify` compares: all that never changes."""
        return tuple(
            RegionRecord(r.address, r.size, hashlib.sha256(r.data).hexdigest())
            for r in self.regions
            if r.protection is not Protection.DATA
        )


def anew(plan: Plan, values: Values) -> Lodging:
    """Map memory and fill it.

    Raises:
        LibswapError: there is no room, or the patch does not fit in.
    """
    subject = plan.subject
    memory = values.visit.map(subject.mappings, plan.module.extent, plan.parts())
    lodging = Lodging(memory, _bound(plan, values, memory))
    for region in lodging.regions:
        subject.memory.write(region.address, region.data.rstrip(b"\0"))
    return lodging


def again_in(plan: Plan, values: Values, unwinder: int) -> Lodging | None:
    """The memory of an earlier application of the same patch, None where there is none.

    Running calls and kept pointers may still reach it. They see no difference, because it must
    hold already what would be written. Variables of the patch would have to begin anew under them:
    a patch that has some always gets new memory.
    """
    if any(r.protection is Protection.DATA for r in plan.patch.regions):
        return None
    for old in record_of(plan.subject).patches:
        if _alike(plan, old, unwinder):
            lodging = _filled(plan, values, old.memory)
            if lodging is not None:
                return lodging
    return None


def _alike(plan: Plan, old: PatchRecord, unwinder: int) -> bool:
    """Whether the memory of a patch that is gone has the same layout, and the same ways in."""
    return (
        not old.active
        and (old.patch, old.base) == (plan.checksum, plan.module.base)
        and (old.size, old.gates, old.unwinder) == (plan.size(), plan.gates(), unwinder)
    )


def _filled(plan: Plan, values: Values, memory: int) -> Lodging | None:
    try:
        lodging = Lodging(memory, _bound(plan, values, memory))
        same = all(_holds(plan.subject, r) for r in lodging.regions)
    except (PatchUnlinkable, MemoryUnreachable):
        return None
    return lodging if same else None


def _holds(subject: Subject, region: BoundRegion) -> bool:
    return subject.memory.read(region.address, region.size) == region.data.ljust(region.size, b"\0")


def _bound(plan: Plan, values: Values, memory: int) -> tuple[BoundRegion, ...]:
    entries = [Entry(e.address, plan.beneath(e)) for e in plan.entries]
    return bind(plan.patch, memory, values.all(memory), entries)
