"""What applying a patch to one process means: its memory, the entries, the record."""

import secrets
import time
from dataclasses import dataclass, replace
from typing import Final

from libswap.elf.instructions import JUMP_SIZE
from libswap.linux.memory import Range
from libswap.live import switch
from libswap.live.gate import jump
from libswap.live.insertion import Part
from libswap.live.mapped import EXECUTE, READ, WRITE
from libswap.live.module import Module
from libswap.live.patches import EntryRecord, PatchRecord, RegionRecord, remembered
from libswap.live.quiescence import Forbidden
from libswap.live.subject import Subject
from libswap.operations.patch_entries import Options, Present, code_of, record_of, restored
from libswap.patch.layout import PAGE, aligned
from libswap.patch.patch import Patch, Protection

_PROTECTIONS: Final = {
    Protection.CODE: READ | EXECUTE,
    Protection.CONSTANTS: READ,
    Protection.DATA: READ | WRITE,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One patch for one process, as it is now.

    Attributes:
        checksum: by which the process knows the patch file.
        entries: the functions to be replaced.
    """

    subject: Subject
    module: Module
    patch: Patch
    checksum: str
    options: Options
    entries: tuple[Present, ...]

    @property
    def superseded(self) -> tuple[PatchRecord, ...]:
        """The patches whose place it takes."""
        if not self.options.replace:
            return ()
        found = {e.under[0].id: e.under[0] for e in self.entries if e.under}
        return tuple(found.values())

    def parts(self) -> list[Part]:
        """What is mapped for it: its regions, and room for gates."""
        parts = [Part(r.offset, r.size, _PROTECTIONS[r.protection]) for r in self.patch.regions]
        if self.gates():
            parts.append(Part(self.patch.size, self.size() - self.patch.size, READ | EXECUTE))
        return parts

    def gate_room(self) -> int:
        """Of one set of gates: one is for applying, one for taking back."""
        count = len(self.entries) + sum(len(p.entries) for p in self.superseded)
        return aligned(switch.room(count), 64)

    def gates(self) -> int:
        """The offset of the gates in the patch's memory, 0 for none."""
        return self.patch.size if self.gate_room() else 0

    def beneath(self, entry: Present) -> bytes:
        """The function that an original continues: below the patch whose place is taken."""
        if entry.under and entry.under[0] in self.superseded:
            return bytes.fromhex(entry.under[1].before) + entry.code[JUMP_SIZE:]
        return entry.code

    def size(self) -> int:
        """Of its memory, with the room for gates."""
        return self.patch.size + (aligned(2 * self.gate_room(), PAGE) if self.gates() else 0)

    def record(self, memory: int, regions: tuple[RegionRecord, ...], unwinder: int) -> PatchRecord:
        """What the process's record will say of it.

        Args:
            memory: where it lies.
            regions: what `verify` compares.
            unwinder: the function that was told of its unwind table, 0 for none.
        """
        patch = self.patch
        entries = tuple(
            EntryRecord(
                label=e.replaced.label,
                address=e.address,
                size=e.replaced.size,
                before=self._before(e).hex(),
                after=jump(e.address, memory + e.replaced.entry).hex(),
                code=memory + e.replaced.code[0],
                code_size=e.replaced.code[1],
                chained=any(o.replaced == i for o in patch.originals),
            )
            for i, e in enumerate(self.entries)
        )
        hook = patch.hooks.pre_revert
        return PatchRecord(
            id=secrets.token_hex(4),
            patch=self.checksum,
            description=patch.description,
            when=time.time(),
            module=self.module.path,
            base=self.module.base,
            memory=memory,
            size=self.size(),
            gates=self.gates(),
            entries=entries,
            regions=regions,
            pre_revert=0 if hook is None else memory + hook,
            state="applied",
            unwinder=unwinder,
        )

    def _before(self, entry: Present) -> bytes:
        return self.beneath(entry)[:JUMP_SIZE]

    def changes(self, record: PatchRecord) -> tuple[list[switch.Change], tuple[PatchRecord, ...]]:
        """What becomes of the entries, and all patches of the process afterwards.

        An earlier application that had the same memory is forgotten.
        """
        changes = [
            switch.Change(e.address, e.now, bytes.fromhex(r.after), e.code, e.replaced.label)
            for e, r in zip(self.entries, record.entries, strict=True)
        ]
        gone = {p.id for p in self.superseded}
        mine = {e.address for e in self.entries}
        for old in self.superseded:
            changes += [restored(self.subject, e) for e in old.entries if e.address not in mine]
        done = tuple(
            replace(p, state="replaced") if p.id in gone else p
            for p in record_of(self.subject).patches
            if p.memory != record.memory
        )
        return changes, (*remembered(done), record)

    def forbidden(self) -> tuple[Forbidden, ...]:
        """Where no thread may be when the entries change."""
        if self.options.relaxed:
            return tuple(
                Forbidden(Range(e.address, e.address + JUMP_SIZE), e.replaced.label)
                for e in self.entries
            )
        found = []
        for entry in self.entries:
            end = entry.address + max(entry.replaced.size, JUMP_SIZE)
            label = entry.replaced.label
            found.append(Forbidden(Range(entry.address, end), label))
            for vaddr, size in entry.replaced.parts:
                start = self.module.base + vaddr
                found.append(Forbidden(Range(start - 1, start + size), f"{label}.cold"))
            if entry.under:
                found.append(code_of(entry.under[0]))
        return tuple(dict.fromkeys(found))
