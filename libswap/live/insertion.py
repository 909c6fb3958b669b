"""Bring new code into a process as raw memory: map it, ask what it must know, call its hooks."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from libswap.errors.live import RemoteCallRefused
from libswap.errors.patch import PatchCallFailed
from libswap.linux.memory import Range
from libswap.linux.signals import name_of
from libswap.live import mapped, registry
from libswap.live.calls import (
    Argument,
    Buffer,
    Call,
    Crashed,
    Hung,
    LeftProcess,
    Program,
    Returned,
)
from libswap.live.mapped import error_of, gaps
from libswap.live.remote import Borrowed
from libswap.live.runtime import Runtime
from libswap.process.maps import Mapping

RTLD_DI_TLS_MODID: Final = 9
"""dlinfo(3)."""
_MOST_QUESTIONS: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """Whole pages of what is mapped.

    Attributes:
        offset: from its start.
        size: in bytes.
        protection: of `mapped.READ`, `WRITE` and `EXECUTE`; never the last two together.
    """

    offset: int
    size: int
    protection: int


@dataclass(slots=True)
class Visit:
    """One borrowed thread at work; what it made is taken back unless it is kept.

    Attributes:
        thread: the thread.
        runtime: the process's C library.
        timeout: seconds that a call may take.
        made: (address, size) of what was mapped.
        frames: unwind tables that were registered, with the function that forgets them.
    """

    pid: int
    thread: Borrowed
    runtime: Runtime
    timeout: float
    made: list[tuple[int, int]] = field(default_factory=list)
    frames: list[tuple[int, int]] = field(default_factory=list)

    def map(self, mappings: Sequence[Mapping], near: Range, parts: Sequence[Part]) -> int:
        """Map parts one behind the other, within reach of a jump from anywhere in `near`.

        Raises:
            RemoteCallRefused: the kernel refused, or there is no room.
        """
        size = max(p.offset + p.size for p in parts)
        for place in gaps(mappings, near, size):
            if self._map_at(place, parts):
                return place
        raise RemoteCallRefused(self.pid, "mmap", "no free memory within 1 GiB of the module")

    def record(self, size: int) -> int:
        """Map a new record of libswap.

        Raises:
            RemoteCallRefused: the kernel refused.
        """
        found = self._run(mapped.named(registry.NAME, size), "the record").results
        for result in (found[0], found[2]):
            self._refuse("memfd_create", result)
        self.made.append((found[2], size))
        return found[2]

    def call(self, function: int, what: str, *arguments: Argument) -> int:
        """Call a function of the process.

        Raises:
            PatchCallFailed: it crashed, hung or tried to end the process.
        """
        return self._run([Call(function, arguments)], what).results[0]

    def calls(self, functions: Sequence[int], what: str) -> list[int]:
        """Call functions without arguments, and give their results."""
        found: list[int] = []
        for start in range(0, len(functions), _MOST_QUESTIONS):
            some = functions[start : start + _MOST_QUESTIONS]
            found += self._run([Call(f) for f in some], what).results
        return found

    def tls_module(self, link: int) -> int:
        """The TLS module id of a loaded module (dlinfo(3)); `link` is the address of its map."""
        program: Program = [Call(self.runtime.dlinfo, (link, RTLD_DI_TLS_MODID, Buffer(8)))]
        return int.from_bytes(self._run(program, "dlinfo").buffers[0], "little")

    def tls_block(self, module: int, get_address: int) -> int:
        """Where a static TLS block begins, relative to every thread's pointer."""
        index = module.to_bytes(8, "little") + bytes(8)
        address = self.call(get_address, "__tls_get_addr", index)
        return address - self.thread.thread.registers.fs_base

    def register_frames(self, table: int, register: int, forget: int) -> None:
        """Tell the unwinder of a .eh_frame (libgcc's unwind-dw2-fde.h)."""
        self.call(register, "__register_frame", table)
        if forget:
            self.frames.append((table, forget))

    def take_back(self) -> None:
        """Forget and unmap all that was made."""
        program: Program = [Call(forget, (table,)) for table, forget in self.frames]
        program += mapped.unmap(self.made)
        self.frames, self.made = [], []
        if program:
            self._run(program, "munmap")

    def _map_at(self, place: int, parts: Sequence[Part]) -> bool:
        program: Program = [mapped.anonymous(place + p.offset, p.size, p.protection) for p in parts]
        results = self._run(program, "mmap").results
        for part, result in zip(parts, results, strict=True):
            if not error_of(result):
                self.made.append((result, part.size))
        if all(r == place + p.offset for p, r in zip(parts, results, strict=True)):
            return True
        self.take_back()
        for result in results:
            if error_of(result) not in (0, errno.EEXIST):
                self._refuse("mmap", result)
        return False

    def _refuse(self, call: str, result: int) -> None:
        if error := error_of(result):
            raise RemoteCallRefused(self.pid, call, os.strerror(error))

    def _run(self, program: Program, what: str) -> Returned:
        outcome = self.thread.run(program, timeout=self.timeout)
        match outcome:
            case Returned():
                return outcome
            case Crashed(signo=signo, address=address):
                why = f"it raised {name_of(signo)} at {address:#x}"
            case Hung():
                why = f"it did not come back within {self.timeout:g} s"
            case LeftProcess():
                why = "it tried to end the process"
        raise PatchCallFailed(self.pid, what, why)
