"""Whether code can be changed now: no stopped thread is inside what will be different."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from libswap.errors.process import MemoryUnreachable
from libswap.linux.memory import ProcessMemory, Range
from libswap.live.stacks import Areas, Hit, Untraceable, live_stack, with_interrupted
from libswap.live.thread import Thread
from libswap.process.maps import Mapping


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Code that no thread may be inside of.

    Its first byte is not part of it: a thread that has just been called there has executed none of
    it, and a word on a stack with that value is a pointer to the function, not a return address.

    Attributes:
        code: the function, or the bytes of its entry that are overwritten.
        name: what to call it.
    """

    code: Range
    name: str


@dataclass(frozen=True, slots=True)
class Blocker:
    """A thread that is inside of forbidden code, or of which that cannot be ruled out.

    Attributes:
        tid: the thread.
        name: of the forbidden code; empty where the thread's stack could not be read.
        address: the program counter or return address that points into it.
        at: where on the stack it was found, None for the program counter.
    """

    tid: int
    name: str
    address: int
    at: int | None

    def __str__(self) -> str:
        if not self.name:
            return f"thread {self.tid} runs on no known stack, or on one with over 64 MB in use"
        if self.at is None:
            return f"thread {self.tid} runs in {self.name} (at {self.address:#x})"
        return f"thread {self.tid} will return into {self.name} (to {self.address:#x})"


class Watch:
    """Forbidden code made ready for quick checks; made before the threads are stopped."""

    def __init__(self, forbidden: Iterable[Forbidden], memory: ProcessMemory) -> None:
        self._memory = memory
        self._names = {Range(f.code.start + 1, f.code.end): f.name for f in forbidden}
        self._areas = Areas(self._names)

    def blockers(self, threads: Sequence[Thread], maps: Sequence[Mapping]) -> list[Blocker]:
        """The stopped threads that stand in the way; empty where it is safe.

        Every aligned word from the stack pointer to the end of the stack's mapping that points
        into forbidden code counts, on the stack in use and on those below signal handlers that run
        there. That can name a thread for a word left behind by an earlier call, but it misses no
        caller; one of which too many stacks would have to be read stands in the way.

        Args:
            threads: of the process, stopped.
            maps: its mappings, read when all of these threads had a stack.
        """
        if not self._names:
            return []
        stacks = [_stack_of(t, maps) for t in threads]
        contents = _read_all(self._memory, [s for s in stacks if s])
        found = []
        for thread, stack in zip(threads, stacks, strict=True):
            data = contents.get(stack) if stack else None
            found += self._of(thread, stack, data, maps)
        return found

    def _of(
        self, thread: Thread, stack: Range | None, data: bytes | None, maps: Sequence[Mapping]
    ) -> list[Blocker]:
        pc = thread.registers.rip
        area = self._areas.find(pc)
        if area:
            return [Blocker(thread.tid, self._names[area], pc, None)]
        if stack is None or data is None:
            return [Blocker(thread.tid, "", thread.registers.rsp, None)]
        try:
            contents = with_interrupted(stack, data, maps, self._read)
        except (MemoryUnreachable, Untraceable):
            return [Blocker(thread.tid, "", thread.registers.rsp, None)]
        hits = (hit for one, held in contents.items() for hit in self._areas.hits(held, one.start))
        return [self._blocker(thread, hit) for hit in islice(hits, 1)]

    def _read(self, stack: Range) -> bytes:
        return self._memory.read(stack.start, stack.size)

    def _blocker(self, thread: Thread, hit: Hit) -> Blocker:
        return Blocker(thread.tid, self._names[hit.area], hit.value, hit.at)


def _stack_of(thread: Thread, maps: Sequence[Mapping]) -> Range | None:
    try:
        return live_stack(thread.registers.rsp, maps)
    except Untraceable:
        return None


def _read_all(memory: ProcessMemory, stacks: list[Range]) -> dict[Range, bytes]:
    try:
        return dict(zip(stacks, memory.read_many(stacks), strict=True))
    except MemoryUnreachable:
        return {}
