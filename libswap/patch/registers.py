"""What machine code does to the registers that a caller may have relied on.

gcc's -fipa-ra (on from -O2) lets a caller keep values in registers that it knows the very function
it calls to leave alone (gcc(1)). Such a function cannot just be replaced by any other.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from libswap.elf.instructions import branches_and_calls, decoder, instructions
from libswap.patch.stack_arguments import depth_at
from libswap.patch.target import Target, TargetSymbol

if TYPE_CHECKING:
    from iced_x86 import Instruction

Registers: TypeAlias = frozenset[int]
"""Of iced-x86, each as its widest: RAX, ZMM0, K0."""

_MOST_INSTRUCTIONS: Final = 100_000
_MOST_CALLERS: Final = 64
_LONGEST_FUNCTION: Final = 1 << 20
_PIECE: Final = 4096


class Code(Protocol):
    """Code that is looked at where it lies."""

    def bytes_at(self, vaddr: int, size: int) -> bytes:
        """Up to `size` bytes; fewer at an end."""

    def is_open(self, vaddr: int, size: int) -> bool:
        """Whether a value there is filled in later."""

    def around(self, vaddr: int) -> tuple[int, int] | None:
        """Start and size of the function there; None to take its jump tables for calls."""


def caller_saved() -> Registers:
    """The registers that a function may change (psABI x86-64 figure 3.4)."""
    r = decoder().Register
    general = (r.RAX, r.RCX, r.RDX, r.RSI, r.RDI, r.R8, r.R9, r.R10, r.R11)
    return frozenset((*general, *range(r.ZMM0, r.ZMM31 + 1), *range(r.K0, r.K7 + 1)))


def written(code: Code, entry: int) -> Registers:
    """The caller-saved registers that a function changes, with what it calls.

    A call that leads out of the module, or through a pointer, may change all of them, and so it
    was for the compiler.

    Args:
        code: where the function lies.
        entry: its address.
    """
    every = caller_saved()
    found: set[int] = set()
    for instruction in _reachable(code, entry):
        if instruction is None:
            return every
        found.update(register for register, _, writes in _uses(instruction) if writes)
        if instruction.flow_control == decoder().FlowControl.INDIRECT_BRANCH:
            found |= _results()  # it may have been a tail call
        if found >= every:
            break
    return every & found


def _reachable(code: Code, entry: int) -> Iterator["Instruction | None"]:
    """Every instruction of a function and of what it calls; None where that is not known."""
    iced = decoder()
    flow = iced.FlowControl
    todo, seen, count = [entry], {entry}, 0
    while todo:
        for instruction in _straight(code, todo.pop()):
            count += 1
            target = instruction.near_branch_target if _is_near(instruction) else None
            kind = instruction.flow_control
            if count > _MOST_INSTRUCTIONS or (
                target is not None and code.is_open(instruction.ip, instruction.len)
            ):
                yield None
                return
            if kind in (flow.INDIRECT_CALL, flow.INDIRECT_BRANCH):
                table = kind == flow.INDIRECT_BRANCH and not _is_slot(instruction)
                around = code.around(instruction.ip) if table else None
                if around is None:
                    yield None
                    return
                todo += _unseen(_table_targets(code, *around), seen)
            yield instruction
            if target is not None:
                todo += _unseen([target], seen)
            if kind in (flow.RETURN, flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH):
                break


def _results() -> set[int]:
    """The registers that a result is returned in."""
    r = decoder().Register
    return {r.RAX, r.RDX, r.ZMM0, r.ZMM1}


def needs_alignment(code: Code, entry: int) -> bool:
    """Whether a function relies on the stack being aligned to 16 bytes when it is called.

    It does if it calls what may rely on it, or uses 16 bytes of its stack at once.
    """
    iced = decoder()
    stack = (iced.Register.RSP, iced.Register.RBP)
    for instruction in _reachable(code, entry):
        if instruction is None:
            return True
        width = iced.MemorySizeExt.size(instruction.memory_size)
        if instruction.memory_base in stack and width >= 16:
            return True
    return False


def _unseen(targets: Sequence[int], seen: set[int]) -> list[int]:
    new = [t for t in targets if t not in seen]
    seen.update(new)
    return new


def _table_targets(code: Code, entry: int, size: int) -> list[int]:
    """Where a jump table of a function can lead: behind each of its unconditional jumps."""
    iced = decoder()
    ends = (
        iced.FlowControl.UNCONDITIONAL_BRANCH,
        iced.FlowControl.INDIRECT_BRANCH,
        iced.FlowControl.RETURN,
    )
    body = instructions(code.bytes_at(entry, size), entry)
    return [i.next_ip for i in body if i.flow_control in ends and i.next_ip < entry + size]


def _straight(code: Code, start: int) -> Iterator["Instruction"]:
    """Instructions one behind the other from an address on."""
    at = start
    while at < start + _LONGEST_FUNCTION:
        piece = code.bytes_at(at, _PIECE)
        last = at
        for instruction in instructions(piece, at):
            yield instruction
            last = instruction.next_ip
        if last == at or len(piece) < _PIECE:
            return
        at = last


def _uses(instruction: "Instruction") -> Iterator[tuple[int, bool, bool]]:
    """(register, read, written) with each register as its widest."""
    iced = decoder()
    access = iced.OpAccess
    reads = (access.READ, access.COND_READ, access.READ_WRITE, access.READ_COND_WRITE)
    writes = (access.WRITE, access.COND_WRITE, access.READ_WRITE, access.READ_COND_WRITE)
    for used in iced.InstructionInfoFactory().info(instruction).used_registers():
        register = iced.RegisterExt.full_register(used.register)
        yield register, used.access in reads, used.access in writes


def _is_near(instruction: "Instruction") -> bool:
    return bool(instruction.op_count) and (instruction.op0_kind == decoder().OpKind.NEAR_BRANCH64)


def _is_slot(instruction: "Instruction") -> bool:
    """A jump through a slot, as in a PLT, and not through a register."""
    return bool(instruction.op0_kind == decoder().OpKind.MEMORY) and (
        instruction.is_ip_rel_memory_operand
    )


@dataclass(frozen=True)
class Reliance:
    """What callers were found to rely on.

    Attributes:
        registers: which; in doubt one is among them.
        read: those that an instruction of a caller reads.
        wide: whether such a caller uses 256-bit registers.
        wider: whether one uses 512-bit or mask registers.
    """

    registers: Registers
    read: Registers = frozenset()
    wide: bool = False
    wider: bool = False


@dataclass(frozen=True)
class Callers:
    """Who calls a function directly, found by looking at every call and jump in the code."""

    target: Target
    _written: dict[int, Registers] = field(default_factory=dict)

    def rely_on(self, old: TargetSymbol, candidates: Registers) -> Reliance:
        """Which of some registers a caller keeps values in, or a caller's caller.

        Args:
            old: the function.
            candidates: registers that it leaves alone.
        """
        found: set[int] = set()
        read: set[int] = set()
        wide = wider = False
        todo, seen = [old.symbol.value], {old.symbol.value}
        while todo and not read >= candidates:
            for site in self._sites.get(todo.pop(), ()):
                around = self.target.function_around(site)
                if around is None or len(seen) > _MOST_CALLERS:
                    return Reliance(candidates, frozenset(read), wide, wider)
                start, size = around.symbol.value, around.symbol.size
                maybe, surely = self._live_after(site, start, size, candidates)
                found |= maybe | surely
                read |= surely
                uses = _widths(self.target.bytes_at(start, size), start)
                wide, wider = wide or uses[0], wider or uses[1]
                if start not in seen:
                    seen.add(start)
                    # A caller that changes them all by itself hides it from its own callers.
                    if not self._written_by(around) >= candidates:
                        todo.append(start)
        return Reliance(frozenset(found & candidates), frozenset(read), wide, wider)

    def may_misalign(self, old: TargetSymbol) -> bool:
        """Whether a caller may call a function with a stack that is not aligned to 16 bytes.

        gcc does not align it for a function in the same file that it knows not to need it
        (cgraph_rtl_info, preferred_incoming_stack_boundary).
        """
        todo, seen = [old.symbol.value], {old.symbol.value}
        while todo:
            for site in self._sites.get(todo.pop(), ()):
                around = self.target.function_around(site)
                if around is None or len(seen) > _MOST_CALLERS:
                    return True
                start, size = around.symbol.value, around.symbol.size
                depth = depth_at(self.target.bytes_at(start, size), start, site)
                if depth is None or depth % 16:
                    return True
                if start not in seen:
                    seen.add(start)
                    if not self._written_by(around) >= caller_saved():
                        todo.append(start)
        return False

    @cached_property
    def _sites(self) -> Mapping[int, Sequence[int]]:
        """Function entry -> the places of the calls and jumps to it."""
        found: dict[int, list[int]] = defaultdict(list)
        for vaddr, text in self.target.texts:
            for place, to in branches_and_calls(text, vaddr):
                if self.target.is_function_start(to):
                    found[to].append(place)
        return found

    def _written_by(self, function: TargetSymbol) -> Registers:
        at = function.symbol.value
        if at not in self._written:
            self._written[at] = written(self.target, at)
        return self._written[at]

    def _live_after(
        self, site: int, start: int, size: int, registers: Registers
    ) -> tuple[set[int], set[int]]:
        """The registers whose value from before a call may be, and is, read behind it."""
        iced = decoder()
        body = {i.ip: i for i in instructions(self.target.bytes_at(start, size), start)}
        call = body.get(site)
        if call is None:
            return set(registers), set()
        if call.flow_control != iced.FlowControl.CALL:
            return set(), set()  # a tail call: its callers' callers are asked
        return _read_first(body, call.next_ip, registers)


def _read_first(
    body: Mapping[int, "Instruction"], start: int, registers: Registers
) -> tuple[set[int], set[int]]:
    """What may be, and is, read before it is written on some way from an address."""
    iced = decoder()
    flow, r = iced.FlowControl, iced.Register
    arguments = {r.RDI, r.RSI, r.RDX, r.RCX, r.R8, r.R9, r.R10, r.RAX}
    arguments |= set(range(r.ZMM0, r.ZMM7 + 1))
    results = _results()
    found: set[int] = set()
    surely: set[int] = set()
    seen: dict[int, Registers] = {}
    todo = [(start, registers)]
    while todo:
        at, asked = todo.pop()
        asked -= seen.get(at, frozenset())
        instruction = body.get(at)
        if not asked or instruction is None:
            continue
        seen[at] = seen.get(at, frozenset()) | asked
        kind = instruction.flow_control
        calls = kind in (flow.CALL, flow.INDIRECT_CALL)
        target = instruction.near_branch_target if _is_near(instruction) else None
        leaves = kind in (flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH) and target not in body
        if calls or leaves:
            found |= asked & arguments
            asked = frozenset() if leaves else asked - arguments
        if kind == flow.RETURN:
            found |= asked & results
        used = list(_uses(instruction))
        surely |= {register for register, read, _ in used if read} & asked
        asked -= {register for register, _, writes in used if writes} & _whole(instruction)
        if target is not None and not calls:
            todo.append((target, asked))
        if kind not in (flow.RETURN, flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH):
            todo.append((instruction.next_ip, asked))
    return found, surely


def _whole(instruction: "Instruction") -> set[int]:
    """Registers that an instruction writes whatever happens, and not only a part of."""
    iced = decoder()
    found = set()
    for used in iced.InstructionInfoFactory().info(instruction).used_registers():
        register = used.register
        size = iced.RegisterExt.size(register)
        if used.access == iced.OpAccess.WRITE and size >= 4:
            found.add(iced.RegisterExt.full_register(register))
    return found


def _widths(code: bytes, address: int) -> tuple[bool, bool]:
    """Whether a function uses 256-bit registers, and whether 512-bit or mask registers."""
    iced = decoder()
    ext = iced.RegisterExt
    wide = wider = False
    for instruction in instructions(code, address):
        for operand in range(instruction.op_count):
            if instruction.op_kind(operand) == iced.OpKind.REGISTER:
                register = instruction.op_register(operand)
                wide = wide or ext.is_ymm(register)
                wider = wider or ext.is_zmm(register) or ext.is_k(register)
    return wide, wider
