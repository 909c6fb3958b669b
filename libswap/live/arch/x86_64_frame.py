"""x86-64: the frame from which a dispatcher calls a function, for what is to be done afterwards."""

from typing import Final

from libswap.live.arch.x86_64_assembly import Assembly, At
from libswap.live.draining.handles import IN_REGISTERS, RESULT

ARGUMENTS: Final = ("RDI", "RSI", "RDX", "RCX", "R8", "R9")
WORD: Final = 8
SAVED: Final = {
    name: At("RBP", -WORD * number) for number, name in enumerate(("RAX", *ARGUMENTS), 1)
}
TARGET: Final = At("RBP", -8 * WORD)
STATE: Final = At("RBP", -9 * WORD)
HANDLE: Final = At("RBP", -10 * WORD)
SECOND: Final = At("RBP", -11 * WORD)
DOUBLE: Final = At("RBP", -12 * WORD)
"""The old copy's double of what the new one makes."""
OLDS: Final = At("RBP", -13 * WORD)
NEWS: Final = At("RBP", -14 * WORD)
"""Whether objects of the old copy, and of the new one, are among what a call is given."""
_FIRST_OWN: Final = 15
FRAME: Final = 20 * WORD
BACK: Final = At("RBP", WORD)
ABOVE: Final = 2 * WORD
"""From the frame pointer to the arguments on the stack."""
# SSE, AVX and the upper halves of ZMM0 to 15: arguments can be as wide as the registers are
# (System V ABI 3.2.3). Intel SDM volume 1, 13.4: standard format, header behind the legacy region.
_VECTOR_STATE: Final = 1 << 1 | 1 << 2 | 1 << 6
_HEADER: Final = 512
_HEADER_SIZE: Final = 64
_STATE_SIZE: Final = 1152 + 512
_ALIGNMENT: Final = 64
VECTORS: Final = _STATE_SIZE + _ALIGNMENT
"""What a frame has below for arguments in vector registers, where two calls get them."""


def kept(argument: int) -> At:
    """Where the frame has an argument, or the result."""
    if argument > IN_REGISTERS:
        return At("RBP", ABOVE + WORD * (argument - IN_REGISTERS - 1))
    return SAVED["RAX" if argument == RESULT else ARGUMENTS[argument - 1]]


def own(argument: int) -> At:
    """Where the frame keeps an argument that has given way to a double."""
    return At("RBP", -WORD * (_FIRST_OWN + argument - 1))


def keep_vectors(code: Assembly) -> None:
    """What a call before the one that is meant would lose. Uses rax, rcx and rdx.

    As ld.so does where it binds a call. Upper halves that are not in use stay so.
    """
    _vector_state(code)
    for at in range(_HEADER, _HEADER + _HEADER_SIZE, WORD):
        code.add("MOV_RM64_IMM32", At("RCX", at), 0)
    code.add("XSAVE_MEM", At("RCX"))


def restore_vectors(code: Assembly) -> None:
    """For the call that is meant. Uses rax, rcx and rdx."""
    _vector_state(code)
    code.add("XRSTOR_MEM", At("RCX"))


def _vector_state(code: Assembly) -> None:
    """Where it is kept, in rcx, and which parts of it, in edx:eax."""
    code.add("LEA_R64_M", "RCX", At("RBP", -FRAME - _STATE_SIZE))
    code.add("AND_RM64_IMM8", "RCX", -_ALIGNMENT)
    code.add("MOV_R32_IMM32", "EAX", _VECTOR_STATE)
    code.add("XOR_R32_RM32", "EDX", "EDX")


def call(code: Assembly, words: int) -> None:
    """The function, with all registers as they came and a copy of what lies on the stack."""
    words += words % 2
    if words:
        code.add("SUB_RM64_IMM32", "RSP", WORD * words)
        code.add("LEA_R64_M", "RSI", At("RBP", ABOVE))
        code.add("MOV_R64_RM64", "RDI", "RSP")
        code.add("MOV_R32_IMM32", "ECX", words)
        code.repeat_move()
    for register, place in SAVED.items():
        code.add("MOV_R64_RM64", register, place)
    code.add("CALL_RM64", TARGET)
    code.forget_return()
