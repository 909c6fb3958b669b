"""What patches running processes carry, and whether they are as they were applied."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from libswap.elf.instructions import JUMP_SIZE
from libswap.errors.base import LibswapError
from libswap.errors.patch import PatchDamaged
from libswap.live.carriers import carriers
from libswap.live.module import LibraryCache
from libswap.live.patches import PatchRecord
from libswap.live.registry import Record
from libswap.live.static_program import open_process
from libswap.live.subject import Subject
from libswap.operations.moves import process_name
from libswap.operations.patch_entries import record_of
from libswap.process.identity import Identity, require_there


@dataclass(frozen=True, slots=True)
class ProcessPatches:
    """One process.

    Attributes:
        patches: in the order in which they were applied, those that were taken back included.
        unfinished: whether a change was begun and not ended.
        damage: what is not as it was applied; only `verify` looks.
        trouble: why it could not be looked at, "" where it could.
    """

    pid: int
    name: str
    patches: tuple[PatchRecord, ...]
    unfinished: bool
    damage: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """All of them.

    Attributes:
        verified: whether their bytes were compared.
    """

    processes: tuple[ProcessPatches, ...]
    verified: bool

    @property
    def exit_code(self) -> int:
        """Not 0 where something is damaged."""
        return PatchDamaged.exit_code if any(p.damage for p in self.processes) else 0


def status(pids: Sequence[int] = (), *, verify: bool = False, active: bool = False) -> Listed:
    """Read the records.

    Args:
        pids: these processes; none for all that carry a record.
        verify: compare what is in memory with what was written.
        active: leave out what is no longer in force, and processes without patches.

    Raises:
        ProcessGone: a process that was named is not there.
    """
    require_there(pids)
    cache = LibraryCache()
    found = [_one(pid, cache, verify=verify, active=active) for pid in (pids or carriers())]
    shown = [p for p in found if pids or p.patches or p.trouble or p.unfinished]
    return Listed(tuple(shown), verify)


def _one(pid: int, cache: LibraryCache, *, verify: bool, active: bool) -> ProcessPatches:
    name = process_name(pid)
    try:
        with open_process(Identity.of(pid), cache) as subject:
            record = record_of(subject)
            patches = tuple(p for p in record.patches if p.active or not active)
            damage = tuple(_damage(subject, record)) if verify else ()
            return ProcessPatches(pid, name, patches, record.switch is not None, damage)
    except LibswapError as error:
        return ProcessPatches(pid, name, (), unfinished=False, trouble=error.message)


def _damage(subject: Subject, record: Record) -> Iterator[str]:
    active = [p for p in record.patches if p.active]
    tops = {e.address: (p, e) for p in active for e in p.entries}
    gates = {c.entry: c.gate for c in record.switch.changes} if record.switch else {}
    for address, (patch, entry) in tops.items():
        found = subject.memory.read(address, JUMP_SIZE)
        if found.hex() not in {entry.after, gates.get(address)}:
            yield f"{entry.label} does not lead to patch {patch.id}: {found.hex(' ')}"
    for patch in active:
        for region in patch.regions:
            data = subject.memory.read(region.address, region.size)
            if hashlib.sha256(data).hexdigest() != region.sha256:
                yield f"the memory of patch {patch.id} at {region.address:#x} was changed"
