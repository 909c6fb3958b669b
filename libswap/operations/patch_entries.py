"""The process that a patch meets: the module it is for, and its functions as they are now."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from libswap.elf.instructions import JUMP_SIZE
from libswap.errors.patch import EntryChanged, PatchMismatch
from libswap.linux.memory import Range
from libswap.live import switch
from libswap.live.choice import borrow
from libswap.live.copies import library_in_use
from libswap.live.exclusive import exclusively
from libswap.live.insertion import Visit
from libswap.live.module import Module
from libswap.live.patches import EntryRecord, PatchRecord
from libswap.live.quiescence import Forbidden
from libswap.live.refusal import needs_lifting, require_fit
from libswap.live.registry import Record
from libswap.live.runtime import Runtime, runtime_of
from libswap.live.static_program import static_runtime
from libswap.live.subject import Subject
from libswap.patch.patch import Patch, Replaced
from libswap.patch.target import content_hash
from libswap.process.ending import while_it_lives
from libswap.process.identity import Identity

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


@contextmanager
def alone(identity: Identity, options: Options) -> Iterator[None]:
    """No other libswap works on a process, and it is fit for ours; a dry run only looks.

    Raises:
        ProcessGone: it ended, whatever it was that failed.
        LibswapError: as `require_fit`; or another libswap held it for all of `options.wait`.
    """
    deadline = time.monotonic() + options.wait
    lock = nullcontext() if options.dry_run else exclusively(identity.pid, deadline)
    with while_it_lives(identity), lock:
        require_fit(identity)
        yield


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
    return subject.record


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
class Present:
    """A function as it is in the process now.

    Attributes:
        under: the patch in force on it, with what it says of this entry.
    """

    replaced: Replaced
    address: int
    now: bytes
    code: bytes
    under: tuple[PatchRecord, EntryRecord] | None


def entries_of(subject: Subject, module: Module, patch: Patch) -> tuple[Present, ...]:
    """The functions to be replaced.

    Raises:
        EntryChanged: one has been changed, and not by a patch of ours.
    """
    return tuple(_present(subject, module, r) for r in patch.replaced)


def _present(subject: Subject, module: Module, replaced: Replaced) -> Present:
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
    return Present(replaced, address, code[:JUMP_SIZE], code, under)


def _patch_over(record: Record, address: int, now: bytes) -> tuple[PatchRecord, EntryRecord] | None:
    for one in reversed(record.patches):
        for entry in one.entries:
            if one.active and entry.address == address and entry.after == now.hex():
                return one, entry
    return None


def code_of(patch: PatchRecord) -> Forbidden:
    """All the code of a patch, as what no thread may be inside of."""
    code = patch.regions[0]
    return Forbidden(Range(code.address - 1, code.address + code.size), f"patch {patch.id}")


def restored(subject: Subject, entry: EntryRecord) -> switch.Change:
    """The change that gives an entry back what stood there before a patch.

    Raises:
        EntryChanged: something else than that patch stands there now.
    """
    code = subject.memory.read(entry.address, max(min(entry.size, _FUNCTION_SHOWN), JUMP_SIZE))
    now, after = code[:JUMP_SIZE], bytes.fromhex(entry.after)
    if now != after:
        raise EntryChanged(subject.identity.pid, entry.label, after, now)
    return switch.Change(entry.address, now, bytes.fromhex(entry.before), code, entry.label)
