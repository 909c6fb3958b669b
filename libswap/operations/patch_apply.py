"""Apply a patch to running processes."""

import hashlib
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from libswap.elf.instructions import JUMP_SIZE
from libswap.errors import (
    EntryChanged,
    LibswapError,
    NotAllMoved,
    PatchCallFailed,
    PatchMismatch,
    ProcessGone,
    SymbolNotLoaded,
    TargetBusy,
)
from libswap.linux.memory import Range
from libswap.linux.rooted import Root
from libswap.live import registry, scope, switch
from libswap.live.choice import borrow
from libswap.live.gate import jump
from libswap.live.insertion import EXECUTE, READ, WRITE, Part, Visit
from libswap.live.module import LibraryCache, Module
from libswap.live.patches import EntryRecord, PatchRecord, RegionRecord
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting, require_fit
from libswap.live.registry import Place, Record
from libswap.live.runtime import Runtime, runtime_of
from libswap.live.static_program import again, open_process, static_runtime
from libswap.live.subject import Subject
from libswap.live.swap import library_in_use
from libswap.operations.patch_processes import processes_of
from libswap.operations.patch_show import show
from libswap.operations.patch_switch import Switched, finish, switched
from libswap.operations.swap import Refused, Skipped, as_refused, process_name
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
    Replaced,
    TlsBlock,
    TlsModule,
)
from libswap.patch.target import content_hash
from libswap.process.identity import Identity

_PROTECTIONS: Final = {
    Protection.CODE: READ | EXECUTE,
    Protection.CONSTANTS: READ,
    Protection.DATA: READ | WRITE,
}
_PERSONALITIES: Final = ("__gxx_personality_v0", "__gcc_personality_v0")
_RECORD_ROOM: Final = 1 << 16
_FUNCTION_SHOWN: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Options:
    """How.

    Attributes:
        wait: seconds to wait for a safe moment.
        calls: seconds that each function of the patch that is called may take.
        relaxed: let calls that are running end in the old code.
        replace: take the place of the patches that change the same functions.
        dry_run: look, and change nothing.
    """

    wait: float = 5.0
    calls: float = 10.0
    relaxed: bool = False
    replace: bool = False
    dry_run: bool = False


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


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be done; nothing was."""

    module: str
    functions: tuple[str, ...]
    replaces: tuple[str, ...]


Outcome: TypeAlias = Applied | Planned | Skipped | Refused


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What became of one process."""

    pid: int
    name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all of them."""

    path: Path
    processes: tuple[ProcessResult, ...]

    @property
    def exit_code(self) -> int:
        """0 where every process has it; see docs/reference/exit-codes.md."""
        codes = {p.outcome.exit_code for p in self.processes if isinstance(p.outcome, Refused)}
        done = any(isinstance(p.outcome, Applied) for p in self.processes)
        if not codes:
            return 0
        return codes.pop() if len(codes) == 1 and not done else NotAllMoved.exit_code


def apply(
    path: Path, options: Options, *, pids: Sequence[int] = (), program: Path | None = None
) -> Report:
    """Apply a patch file.

    Args:
        path: of the patch file.
        options: how.
        pids: these processes.
        program: the processes that run this file; with neither, all that run the patch's target.

    Raises:
        InvalidPatch: the file is damaged.
    """
    shown = show(path)
    with Root.open("/") as here:
        cache = LibraryCache((here,))
        found = [Identity.of(p) for p in pids] or processes_of(shown.patch.pin, program)
        results = tuple(_one(i, shown.patch, shown.identity, options, cache) for i in found)
    return Report(path, results)


def _one(
    identity: Identity, patch: Patch, checksum: str, options: Options, cache: LibraryCache
) -> ProcessResult:
    name = process_name(identity.pid)
    try:
        require_fit(identity)
        with open_process(identity, cache) as found:
            subject = found if options.dry_run else finish(found, options.wait)
            outcome = _outcome(subject, patch, checksum, options)
    except ProcessGone as error:
        outcome = Skipped(error.message)
    except LibswapError as error:
        outcome = as_refused(error)
    return ProcessResult(identity.pid, name, outcome)


def _outcome(subject: Subject, patch: Patch, checksum: str, options: Options) -> Outcome:
    record = record_of(subject)
    module = target_of(subject, patch)
    for one in record.patches:
        if one.active and one.patch == checksum and one.base == module.base:
            return Skipped(f"it has this patch already, as {one.id}")
    work = _Work(subject, module, patch, checksum, options, _entries(subject, module, patch))
    if options.dry_run:
        names = tuple(r.label for r in patch.replaced)
        return Planned(module.path, names, tuple(p.id for p in work.superseded))
    return work.run()


def target_of(subject: Subject, patch: Patch) -> Module:
    """The module that a patch is for, in use and of the very build.

    Raises:
        PatchMismatch: the process has none.
    """
    record, seen = record_of(subject), []
    for module in subject.modules:
        if module.library is None:
            continue
        in_use = library_in_use(record, module.base) == module.base
        if in_use and _is_pinned(module, patch):
            return module
        if module.path.rpartition("/")[2].startswith(patch.pin.name.partition(".so")[0]):
            seen.append(f"{module.path} is {module.library.build_id[:16] or 'without build id'}")
    wanted = patch.pin.build_id or patch.pin.sha256
    found = "; ".join(seen) or "it has no file of that name"
    raise PatchMismatch(subject.identity.pid, patch.pin.name, wanted, found)


def record_of(subject: Subject) -> Record:
    """What a process's record says; nothing where it has none."""
    return subject.place.record if subject.place else Record()


def runtime_for(subject: Subject) -> Runtime:
    """Its C library, as far as it has one."""
    if subject.modules[0].link.address:
        return runtime_of(subject.modules)
    return static_runtime(subject)


@contextmanager
def visiting(subject: Subject, wait: float, timeout: float) -> Iterator[Visit]:
    """Borrow a thread of a process."""
    runtime = runtime_for(subject)
    pid = subject.identity.pid
    with borrow(
        subject.identity,
        subject.memory,
        avoid=runtime.avoid,
        deadline=time.monotonic() + wait,
        errno_location=runtime.errno_location,
        loader_locks=runtime.loader_locks,
        lift_seccomp=needs_lifting(pid),
    ) as thread:
        yield Visit(pid, thread, runtime, timeout)


def _is_pinned(module: Module, patch: Patch) -> bool:
    pin = patch.pin
    if pin.build_id:
        return module.facts.build_id == pin.build_id
    return content_hash(module.facts.image) == pin.sha256


@dataclass(frozen=True, slots=True)
class _Present:
    """A function as it is in the process now.

    Attributes:
        under: the patch in force on it, with what it says of this entry.
    """

    replaced: Replaced
    address: int
    now: bytes
    code: bytes
    under: tuple[PatchRecord, EntryRecord] | None


def _entries(subject: Subject, module: Module, patch: Patch) -> tuple[_Present, ...]:
    """The functions to be replaced.

    Raises:
        EntryChanged: one has been changed, and not by a patch of ours.
    """
    return tuple(_present(subject, module, r) for r in patch.replaced)


def _present(subject: Subject, module: Module, replaced: Replaced) -> _Present:
    address = module.base + replaced.vaddr
    size = min(max(replaced.room, JUMP_SIZE), _FUNCTION_SHOWN)
    code = subject.memory.read(address, size)
    first = replaced.first
    under = None
    if code[: len(first)] != first:
        under = _patch_over(record_of(subject), address, code[:JUMP_SIZE])
        if under is None or code[JUMP_SIZE : len(first)] != first[JUMP_SIZE:]:
            found = code[: len(first)]
            raise EntryChanged(subject.identity.pid, replaced.label, first, found)
    return _Present(replaced, address, code[:JUMP_SIZE], code, under)


def _patch_over(record: Record, address: int, now: bytes) -> tuple[PatchRecord, EntryRecord] | None:
    for one in reversed(record.patches):
        for entry in one.entries:
            if one.active and entry.address == address and entry.after == now.hex():
                return one, entry
    return None


@dataclass(slots=True)
class _Work:
    """One patch on its way into one process."""

    subject: Subject
    module: Module
    patch: Patch
    checksum: str
    options: Options
    entries: tuple[_Present, ...]
    remarks: list[str] = field(default_factory=list)

    @property
    def superseded(self) -> tuple[PatchRecord, ...]:
        """The patches whose place it takes."""
        if not self.options.replace:
            return ()
        found = {e.under[0].id: e.under[0] for e in self.entries if e.under}
        return tuple(found.values())

    def run(self) -> Applied:
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

    def _beneath(self, entry: _Present) -> bytes:
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

    def _before(self, entry: _Present) -> bytes:
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
            changes += [_restored(self.subject, e) for e in old.entries if e.address not in mine]
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


def code_of(patch: PatchRecord) -> Forbidden:
    """All the code of a patch, as what no thread may be inside of."""
    code = patch.regions[0]
    return Forbidden(Range(code.address - 1, code.address + code.size), f"patch {patch.id}")


def _restored(subject: Subject, entry: EntryRecord) -> switch.Change:
    code = subject.memory.read(entry.address, max(min(entry.size, _FUNCTION_SHOWN), JUMP_SIZE))
    return switch.Change(
        entry.address, code[:JUMP_SIZE], bytes.fromhex(entry.before), code, entry.label
    )
