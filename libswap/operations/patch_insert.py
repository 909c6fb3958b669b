"""Bring one patch into one process."""

import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from libswap.elf.instructions import JUMP_SIZE
from libswap.errors.base import LibswapError
from libswap.errors.patch import PatchCallFailed, SymbolNotLoaded
from libswap.errors.process import TargetBusy
from libswap.linux.memory import Range
from libswap.live import registry, scope, switch
from libswap.live.gate import jump
from libswap.live.insertion import EXECUTE, READ, WRITE, Part, Visit
from libswap.live.module import Module
from libswap.live.patches import EntryRecord, PatchRecord, RegionRecord
from libswap.live.quiescence import Forbidden
from libswap.live.registry import Place
from libswap.live.static_program import again
from libswap.live.subject import Subject
from libswap.operations.patch_entries import (
    Options,
    Present,
    code_of,
    record_of,
    restored,
    visiting,
)
from libswap.operations.patch_switch import Switched, switched
from libswap.patch.bind import Entry, bind
from libswap.patch.layout import PAGE, aligned
from libswap.patch.patch import (
    Import,
    Indirect,
    Kind,
    Memory,
    Patch,
    Protection,
    Reference,
    TlsBlock,
    TlsModule,
)

_PROTECTIONS: Final = {
    Protection.CODE: READ | EXECUTE,
    Protection.CONSTANTS: READ,
    Protection.DATA: READ | WRITE,
}
_PERSONALITIES: Final = ("__gxx_personality_v0", "__gcc_personality_v0")
_RECORD_ROOM: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Applied:
    """Its functions are in force.

    Attributes:
        id: by which it can be taken back.
        replaces: ids of the patches whose place it took.
        remarks: what could not be done for it.
    """

    id: str
    stopped_for: float
    attempts: int
    threads: int
    replaces: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(slots=True)
class Work:
    """One patch on its way into one process."""

    subject: Subject
    module: Module
    patch: Patch
    checksum: str
    options: Options
    entries: tuple[Present, ...]
    remarks: list[str] = field(default_factory=list)

    @property
    def superseded(self) -> tuple[PatchRecord, ...]:
        """The patches whose place it takes."""
        if not self.options.replace:
            return ()
        found = {e.under[0].id: e.under[0] for e in self.entries if e.under}
        return tuple(found.values())

    def run(self) -> Applied:
        """Map it, call what is to be called before, and commit.

        Raises:
            LibswapError: something stands in the way; the process is as it was.
        """
        subject, options = self.subject, self.options
        with visiting(subject, options.wait, options.calls) as visit:
            try:
                place, record, memory = self._insert(visit)
            except LibswapError:
                with suppress(LibswapError):
                    visit.take_back()
                raise
        self.subject = again(subject)
        self._check_alone(place)
        changes, done = self._changes(record, memory)
        prepared = switch.prepare(changes, memory + self._gates() if self._gates() else 0, done)
        try:
            outcome = switched(self.subject, place, prepared, self._forbidden(), options.wait)
        except LibswapError:
            with (
                suppress(LibswapError),
                visiting(self.subject, options.wait, options.calls) as home,
            ):
                home.made, home.frames = visit.made, visit.frames
                home.take_back()
            raise
        self._after(memory)
        return self._applied(record, outcome)

    def _check_alone(self, place: Place) -> None:
        """Nobody else has written the record since it was read.

        Raises:
            TargetBusy: somebody has.
        """
        now, before = self.subject.place, record_of(self.subject)
        if now is not None and before != place.record and now.number != place.number:
            raise TargetBusy(self.subject.identity.pid)

    def _applied(self, record: PatchRecord, outcome: Switched) -> Applied:
        if not outcome.at_once and len(self.entries) > 1:
            self.remarks.append("its functions were changed one by one within the stop")
        return Applied(
            record.id,
            outcome.stopped_for,
            outcome.attempts,
            outcome.threads,
            tuple(p.id for p in self.superseded),
            tuple(self.remarks),
        )

    # Into the process

    def _insert(self, visit: Visit) -> tuple[Place, PatchRecord, int]:
        memory = visit.map(self.subject.mappings, self.module.extent, self._parts())
        values = [self._value(r, memory, visit) for r in self.patch.references]
        bound = bind(
            self.patch, memory, values, [Entry(e.address, self._beneath(e)) for e in self.entries]
        )
        for region in bound:
            self.subject.memory.write(region.address, region.data.rstrip(b"\0"))
        record = self._record(memory, tuple(
            RegionRecord(r.address, r.size, hashlib.sha256(r.data).hexdigest())
            for r in bound if r.protection is not Protection.DATA
        ))  # fmt: skip
        place = self._place(visit, record)
        self._call(visit, memory)
        return place, record, memory

    def _parts(self) -> list[Part]:
        parts = [Part(r.offset, r.size, _PROTECTIONS[r.protection]) for r in self.patch.regions]
        if self._gates():
            size = aligned(2 * self._gate_room(), PAGE)
            parts.append(Part(self.patch.size, size, READ | EXECUTE))
        return parts

    def _gate_room(self) -> int:
        """Of one set of gates: one is for applying, one for taking back."""
        count = len(self.entries) + sum(len(p.entries) for p in self.superseded)
        return aligned(switch.room(count), 64)

    def _gates(self) -> int:
        """The offset of the gates in the patch's memory, 0 for none."""
        return self.patch.size if self._gate_room() else 0

    def _beneath(self, entry: Present) -> bytes:
        """The function that an original continues: below the patch whose place is taken."""
        if entry.under and entry.under[0] in self.superseded:
            return bytes.fromhex(entry.under[1].before) + entry.code[JUMP_SIZE:]
        return entry.code

    def _value(self, reference: Reference, memory: int, visit: Visit) -> int:
        match reference:
            case Memory():
                return memory
            case Import():
                return self._import(reference, visit)
            case Indirect(vaddr=vaddr):
                return visit.call(self.module.base + vaddr, "a resolver of the target")
            case TlsModule():
                return self._tls_module(visit)
            case TlsBlock():
                found = self._find("__tls_get_addr", "")
                return visit.tls_block(self._tls_module(visit), found.address)
            case _:
                return self.module.base

    def _tls_module(self, visit: Visit) -> int:
        if self.patch.pin.kind is not Kind.LIBRARY:
            return 1  # the main program's, in glibc and musl
        return visit.tls_module(self.module.link.address)

    def _import(self, wanted: Import, visit: Visit) -> int:
        try:
            found = self._find(wanted.name, wanted.version)
        except SymbolNotLoaded:
            if wanted.weak:
                return 0
            raise
        if found.indirect:
            return visit.call(found.address, f"the resolver of {wanted.name}")
        return found.address

    def _find(self, name: str, version: str) -> scope.Definition:
        modules, record = self.subject.modules, record_of(self.subject)
        found = None
        if self.module.link.address:
            found = scope.lookup(modules, record, self.module, name, version)
        if found is None:
            label = f"{name}@{version}" if version else name
            raise SymbolNotLoaded(self.subject.identity.pid, label)
        return found

    def _call(self, visit: Visit, memory: int) -> None:
        """The unwind table, the constructors, then the patch's own word on it."""
        hooks, unwind = self.patch.hooks, self.patch.unwind
        if unwind is not None:
            self._register(visit, memory + unwind.offset)
        for offset in hooks.constructors:
            visit.call(memory + offset, "a constructor of the patch")
        if hooks.pre_apply is not None:
            said = visit.call(memory + hooks.pre_apply, "libswap_pre_apply") & 0xFFFFFFFF
            if said:
                pid = self.subject.identity.pid
                raise PatchCallFailed(pid, "libswap_pre_apply", f"it answered {said}")

    def _register(self, visit: Visit, table: int) -> None:
        register, forget = self._unwinder()
        if register:
            visit.register_frames(table, register, forget)
        elif any(isinstance(r, Import) and r.name in _PERSONALITIES for r in self.patch.references):
            self.remarks.append(
                "the process has no unwinder (libgcc_s): exceptions cannot pass through the patch"
            )

    def _unwinder(self) -> tuple[int, int]:
        if not self.module.link.address:
            names = {s.name: s.value for s in self.module.facts.statics}
            found = [names.get(n, 0) for n in ("__register_frame", "__deregister_frame")]
            base = self.module.base
            return tuple(base + value if value else 0 for value in found)  # type: ignore[return-value]
        places = []
        for name in ("__register_frame", "__deregister_frame"):
            try:
                places.append(self._find(name, "").address)
            except SymbolNotLoaded:
                places.append(0)
        return places[0], places[1]

    def _place(self, visit: Visit, record: PatchRecord) -> Place:
        """The process's record, moved to a larger mapping where it would not fit."""
        place = self.subject.place
        before = record_of(self.subject)
        need = _RECORD_ROOM + 8 * len(
            registry.encode(replace(before, patches=(*before.patches, record, record)))
        )
        if place is not None and place.size >= need:
            return place
        size = aligned(4 * need, PAGE)
        address = visit.record(size)
        fresh, write = registry.blank(address, size)
        self.subject.memory.write(write.address, write.new)
        number = place.number if place else 0
        return replace(fresh, number=number, record=before)

    # The commit

    def _record(self, memory: int, regions: tuple[RegionRecord, ...]) -> PatchRecord:
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
        gates = self._gates()
        hook = patch.hooks.pre_revert
        return PatchRecord(
            id=secrets.token_hex(4),
            patch=self.checksum,
            description=patch.description,
            when=time.time(),
            module=self.module.path,
            base=self.module.base,
            memory=memory,
            size=patch.size + (aligned(2 * self._gate_room(), PAGE) if gates else 0),
            gates=gates,
            entries=entries,
            regions=regions,
            pre_revert=0 if hook is None else memory + hook,
            state="applied",
        )

    def _before(self, entry: Present) -> bytes:
        return self._beneath(entry)[:JUMP_SIZE]

    def _changes(
        self, record: PatchRecord, memory: int
    ) -> tuple[list[switch.Change], tuple[PatchRecord, ...]]:
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
        )
        assert memory == record.memory  # noqa: S101  one patch at a time
        return changes, (*done, record)

    def _forbidden(self) -> tuple[Forbidden, ...]:
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

    def _after(self, memory: int) -> None:
        hook = self.patch.hooks.post_apply
        if hook is None:
            return
        try:
            with visiting(again(self.subject), self.options.wait, self.options.calls) as visit:
                visit.call(memory + hook, "libswap_post_apply")
        except LibswapError as error:
            self.remarks.append(f"the patch is in force, but {error.message}")
