"""Bring one patch into one process."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.patch import PatchCallFailed
from libswap.errors.process import TargetBusy
from libswap.live import registry, switch
from libswap.live.insertion import Visit
from libswap.live.patches import PatchRecord
from libswap.live.registry import Place
from libswap.live.static_program import again
from libswap.live.subject import Subject
from libswap.operations.patch_entries import record_of, visiting
from libswap.operations.patch_memory import again_in, anew
from libswap.operations.patch_plan import Plan
from libswap.operations.patch_switch import Switched, switched
from libswap.operations.patch_values import Values
from libswap.patch.layout import PAGE, aligned
from libswap.patch.patch import Import

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
    """One patch on its way into one process.

    Attributes:
        subject: the process as it is now.
        remarks: what could not be done so far.
    """

    plan: Plan
    subject: Subject
    remarks: list[str] = field(default_factory=list)

    def run(self) -> Applied:
        """Map it, call what is to be called before, and commit.

        Raises:
            LibswapError: something stands in the way; the process is as it was.
        """
        subject, options = self.subject, self.plan.options
        with visiting(subject, options.wait, options.calls) as visit:
            try:
                place, record, memory = self._insert(visit)
            except LibswapError:
                with suppress(LibswapError):
                    visit.take_back()
                raise
        self.subject = again(subject)
        self._check_alone(place)
        changes, done = self.plan.changes(record)
        gates = memory + record.gates if record.gates else 0
        prepared = switch.prepare(changes, gates, done)
        try:
            outcome = switched(self.subject, place, prepared, self.plan.forbidden(), options.wait)
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
        if not outcome.at_once and len(self.plan.entries) > 1:
            self.remarks.append("its functions were changed one by one within the stop")
        return Applied(
            record.id,
            outcome.stopped_for,
            outcome.attempts,
            outcome.threads,
            tuple(p.id for p in self.plan.superseded),
            tuple(self.remarks),
        )

    # Into the process

    def _insert(self, visit: Visit) -> tuple[Place, PatchRecord, int]:
        values = Values(self.subject, self.plan.module, self.plan.patch, visit)
        unwinder = values.unwinder() if self.plan.patch.unwind is not None else (0, 0)
        lodging = again_in(self.plan, values, unwinder[0])
        if lodging is None:
            lodging = anew(self.plan, values)
            self._register(visit, lodging.memory, unwinder)
        record = self.plan.record(lodging.memory, lodging.constant(), unwinder[0])
        place = self._place(visit, record)
        self._call(visit, lodging.memory)
        return place, record, lodging.memory

    def _call(self, visit: Visit, memory: int) -> None:
        """The constructors, then the patch's own word on it."""
        hooks = self.plan.patch.hooks
        for offset in hooks.constructors:
            visit.call(memory + offset, "a constructor of the patch")
        if hooks.pre_apply is not None:
            said = visit.call(memory + hooks.pre_apply, "libswap_pre_apply") & 0xFFFFFFFF
            if said:
                pid = self.subject.identity.pid
                raise PatchCallFailed(pid, "libswap_pre_apply", f"it answered {said}")

    def _register(self, visit: Visit, memory: int, unwinder: tuple[int, int]) -> None:
        register, forget = unwinder
        unwind = self.plan.patch.unwind
        if unwind is not None and register:
            visit.register_frames(memory + unwind.offset, register, forget)
        elif any(
            isinstance(r, Import) and r.name in _PERSONALITIES for r in self.plan.patch.references
        ):
            self.remarks.append(
                "the process has no unwinder (libgcc_s): exceptions cannot pass through the patch"
            )

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

    def _after(self, memory: int) -> None:
        hook = self.plan.patch.hooks.post_apply
        if hook is None:
            return
        try:
            with visiting(
                again(self.subject), self.plan.options.wait, self.plan.options.calls
            ) as visit:
                visit.call(memory + hook, "libswap_post_apply")
        except LibswapError as error:
            self.remarks.append(f"the patch is in force, but {error.message}")
