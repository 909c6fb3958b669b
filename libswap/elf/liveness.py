"""Which registers code reads before it writes them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from libswap.elf.instructions import decoder
from libswap.elf.registers import Registers, is_near, results, uses

if TYPE_CHECKING:
    from iced_x86 import Instruction


def read_first(
    body: Mapping[int, "Instruction"], start: int, registers: Registers
) -> tuple[set[int], set[int]]:
    """What may be, and is, read before it is written on some way from an address."""
    iced = decoder()
    flow, r = iced.FlowControl, iced.Register
    arguments = {r.RDI, r.RSI, r.RDX, r.RCX, r.R8, r.R9, r.R10, r.RAX}
    arguments |= set(range(r.ZMM0, r.ZMM7 + 1))
    returned = results()
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
        target = instruction.near_branch_target if is_near(instruction) else None
        leaves = kind in (flow.UNCONDITIONAL_BRANCH, flow.INDIRECT_BRANCH) and target not in body
        if calls or leaves:
            found |= asked & arguments
            asked = frozenset() if leaves else asked - arguments
        if kind == flow.RETURN:
            found |= asked & returned
        used = list(uses(instruction))
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
