"""x86-64: the few instructions that a borrowed thread executes on its own, whatever becomes of us.

`Doorway` is the code in the tail of an executable page. It makes the scratch memory, and later
removes it; all that it restores are immediates in its own code, so it needs no memory that could be
missing. `Stub` is the code in the scratch memory. Both end by restoring every register and jumping
back to where the thread was. They never rely on a tracer.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from libswap.live.arch.x86_64 import Registers, SystemCalls

_SIG_SETMASK: Final = 2
_PROT_NONE: Final = 0
_PROT_READ_WRITE: Final = 3
_PROT_READ_EXECUTE: Final = 5
_MAP_PRIVATE_ANONYMOUS_NORESERVE: Final = 0x02 | 0x20 | 0x4000
_MAP_FIXED: Final = 0x10

# Numbers of general registers in instructions (Intel SDM volume 2, table 3-1)
_NUMBER: Final = {
    "rax": 0,
    "rcx": 1,
    "rdx": 2,
    "rbx": 3,
    "rsp": 4,
    "rbp": 5,
    "rsi": 6,
    "rdi": 7,
    **{f"r{n}": n for n in range(8, 16)},
}
_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")  # System V ABI 3.2.3
_SYSTEM_CALL_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")  # System V ABI A.2.1
DOORWAY_MARK: Final = b"libswap\0"
"""What a `Doorway` begins with, so that one left behind by a killed libswap is known."""

SYSTEM_CALL: Final = b"\x0f\x05"
_SYSCALL: Final = SYSTEM_CALL


LOADED_NUMBER: Final = 5
"""Bytes in front of a system call instruction that `loaded_number` looks at."""


def loaded_number(code: bytes) -> int | None:
    """The number that `mov eax, number` loads, as the C library does right before each call."""
    return struct.unpack("<I", code[1:])[0] if code[:1] == b"\xb8" else None


def set_register(name: str, value: int) -> bytes:
    """`mov name, value` in its shortest form that leaves the flags alone."""
    number = _NUMBER[name]
    if value < 1 << 32:
        prefix = b"\x41" if number > 7 else b""
        return prefix + bytes([0xB8 | number & 7]) + struct.pack("<I", value)
    return bytes([0x49 if number > 7 else 0x48, 0xB8 | number & 7]) + struct.pack("<Q", value)


def load_register(name: str, offset: int) -> bytes:
    """`mov name, [rbx + offset]`."""
    return _with_base(0x8B, name, offset)


def store_register(name: str, offset: int) -> bytes:
    """`mov [rbx + offset], name`."""
    return _with_base(0x89, name, offset)


def _with_base(opcode: int, name: str, offset: int) -> bytes:
    number = _NUMBER[name]
    rex = 0x4C if number > 7 else 0x48
    return bytes([rex, opcode, 0x83 | (number & 7) << 3]) + struct.pack("<i", offset)


def jump_to(address: int) -> bytes:
    """`jmp [rip + 0]` and the address, which needs no register and no flags."""
    return b"\xff\x25\0\0\0\0" + struct.pack("<Q", address)


def _set_mask(pointer: bytes) -> bytes:
    """rt_sigprocmask(SIG_SETMASK, pointer, NULL, 8); `pointer` sets rsi."""
    return (
        pointer
        + set_register("rdi", _SIG_SETMASK)
        + set_register("rdx", 0)
        + set_register("r10", 8)
        + set_register("rax", SystemCalls.RT_SIGPROCMASK)
        + _SYSCALL
    )


@dataclass(frozen=True, slots=True)
class Doorway:
    """The code in the tail of an executable page, made for one stop of one thread.

    Attributes:
        address: where it lies.
        home: the registers to go on with, after the restart of a system call was worked in.
        old_mask: the thread's signal mask.
        blocked: the mask while it is borrowed.
        layout: sizes of the scratch memory.
    """

    address: int
    home: Registers
    old_mask: int
    blocked: int
    guard: int
    data: int
    code: int
    scratch: int = 0
    enter: int = field(init=False, default=0)
    first_call: int = field(init=False, default=0)
    leave: int = field(init=False, default=0)
    unmap: int = field(init=False, default=0)
    last_call: int = field(init=False, default=0)
    image: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        masks = struct.pack("<8sQQ", DOORWAY_MARK, self.old_mask, self.blocked)
        unmap = self._unmapping()
        leave = self._leaving(len(masks) + len(unmap))
        enter_at = len(masks) + len(unmap) + len(leave)
        entering = self._entering(enter_at, len(masks) + len(unmap))
        put = object.__setattr__
        put(self, "image", masks + unmap + leave + entering)
        put(self, "unmap", self.address + len(masks))
        put(self, "leave", self.address + len(masks) + len(unmap))
        put(self, "last_call", self.leave + leave.index(_SYSCALL))
        put(self, "enter", self.address + enter_at)
        put(self, "first_call", self.enter + entering.index(_SYSCALL) + len(_SYSCALL))

    def _unmapping(self) -> bytes:
        return (
            set_register("rdi", self.scratch).rjust(10, b"\x90")
            + set_register("rsi", self.guard + self.data + self.code)
            + set_register("rax", SystemCalls.MUNMAP)
            + _SYSCALL
        )

    def _leaving(self, offset: int) -> bytes:
        home = self.home
        code = _set_mask(b"\x48\x8d\x35" + struct.pack("<i", 8 - (offset + 7)))  # lea rsi, old_mask
        for name in ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"):
            code += set_register(name, getattr(home, name))
        return code + jump_to(home.rip)

    def _entering(self, offset: int, leave: int) -> bytes:
        code = _set_mask(b"\x48\x8d\x35" + struct.pack("<i", 16 - (offset + 7)))  # lea rsi, blocked
        code += set_register("rdi", 0)
        code += set_register("rsi", self.guard + self.data + self.code)
        code += set_register("rdx", _PROT_NONE)
        code += set_register("r10", _MAP_PRIVATE_ANONYMOUS_NORESERVE)
        code += b"\x49\xc7\xc0\xff\xff\xff\xff"  # mov r8, -1
        code += set_register("r9", 0) + set_register("rax", SystemCalls.MMAP) + _SYSCALL
        # A failed mmap gave -errno; MAP_FIXED at that plus a page is not aligned: EINVAL.
        code += b"\x48\x8d\xb8" + struct.pack("<i", self.guard)  # lea rdi, [rax + guard]
        code += set_register("rsi", self.data) + set_register("rdx", _PROT_READ_WRITE)
        code += set_register("r10", _MAP_PRIVATE_ANONYMOUS_NORESERVE | _MAP_FIXED)
        code += set_register("rax", SystemCalls.MMAP) + _SYSCALL
        code += b"\x48\x8d\xbf" + struct.pack("<i", self.data)  # lea rdi, [rdi + data]
        code += set_register("rsi", self.code) + set_register("rdx", _PROT_READ_EXECUTE)
        code += set_register("rax", SystemCalls.MMAP) + _SYSCALL
        return code + b"\xe9" + struct.pack("<i", leave - (offset + len(code) + 5))


# The end of a transfer that was broken off (see live/transfer). One piece of code for all threads:
# what differs lies at rsp. Like a system call it changes rax, rcx and r11, and no flag.
AFTER_CALL: Final = 2
CONTINUATION: Final = b"".join((
    _SYSCALL,
    b"\x48\x89\xc1\x48\x0f\xc9\x89\xc9",  # mov rcx, rax; bswap rcx; mov ecx, ecx
    b"\xe3\x05",  # jrcxz +5: only an error has anything in the high half
    b"\xb8\0\0\0\0",  # mov eax, 0
    b"\x48\x8b\x0c\x24\x48\x8d\x04\x08",  # mov rcx, [rsp]; lea rax, [rax + rcx]
    b"\x48\x8b\x7c\x24\x08\x48\x8b\x74\x24\x10",  # mov rdi, [rsp + 8]; mov rsi, [rsp + 16]
    b"\x48\x8b\x54\x24\x18\x48\x8b\x4c\x24\x20",  # mov rdx, [rsp + 24]; mov rcx, [rsp + 32]
    b"\x48\x8b\x64\x24\x28\xff\xe1",  # mov rsp, [rsp + 40]; jmp rcx
))  # fmt: skip
CONTINUATION_FRAME: Final = 48


def continuation_frame(home: Registers, done: int) -> bytes:
    """What `CONTINUATION` finds at rsp: the bytes moved so far, and the registers to go back to."""
    return struct.pack("<6Q", done, home.rdi, home.rsi, home.rdx, home.rip, home.rsp)


# Where the stub finds what it needs, as offsets from rbx.
OLD_MASK: Final = 0x00
FILTER: Final = 0x08
PENDING: Final = 0x10
FLAGS: Final = 0x18
STACK_POINTER: Final = 0x20
ERRNO_ADDRESS: Final = 0x28
ERRNO_VALUE: Final = 0x30
INTERRUPTED_RIP: Final = 0x38
GENERAL: Final = 0x40
_GENERAL_ORDER: Final = (
    *("rax", "rcx", "rdx", "rbp", "rsi", "rdi"),
    *(f"r{n}" for n in range(8, 16)),
    *("rbx", "rip"),
)
RESULTS: Final = 0x100
MOST_CALLS: Final = 256
ERRNOS: Final = RESULTS + 8 * MOST_CALLS
CLEAN_STATE: Final = ERRNOS + 8 * MOST_CALLS  # an XSAVE area in initial configuration, 576 bytes
EXTENDED_STATE: Final = CLEAN_STATE + 0x280  # 64-byte aligned, like every part above
_XSAVE_LEGACY_SIZE: Final = 576
_MXCSR_AT: Final = 24
_MXCSR_DEFAULT: Final = 0x1F80
_PKRU_BIT: Final = 1 << 9
_EPILOGUE_ROOM: Final = 0x200


def frame(
    home: Registers, xstate: bytes, old_mask: int, *, caught: int, interrupted_rip: int
) -> bytes:
    """The memory that the stub restores from, to lie at a multiple of 64 in rbx.

    Args:
        home: the registers to go on with.
        xstate: NT_X86_XSTATE of the thread, which is an XSAVE area in standard format.
        old_mask: its signal mask.
        caught: signals that, pending at the end, make its system call give EINTR; 0 for none.
        interrupted_rip: where it then goes on.
    """
    data = bytearray(EXTENDED_STATE)
    words = {
        OLD_MASK: old_mask,
        FILTER: caught & ~old_mask,
        FLAGS: home.eflags,
        STACK_POINTER: home.rsp,
        INTERRUPTED_RIP: interrupted_rip,
    }
    words |= {GENERAL + 8 * i: getattr(home, name) for i, name in enumerate(_GENERAL_ORDER)}
    for at, word in words.items():
        struct.pack_into("<Q", data, at, word)
    struct.pack_into("<H", data, CLEAN_STATE, 0x37F)
    struct.pack_into("<I", data, CLEAN_STATE + _MXCSR_AT, _MXCSR_DEFAULT)
    return bytes(data) + xstate


def _slot(name: str) -> int:
    return GENERAL + 8 * _GENERAL_ORDER.index(name)


def _xrstor(offset: int, components: int) -> bytes:
    """`xrstor64 [rbx + offset]` of these state components."""
    return (
        set_register("rax", components & 0xFFFFFFFF)
        + set_register("rdx", components >> 32)
        + b"\x48\x0f\xae\xab"
        + struct.pack("<i", offset)
    )


def epilogue(code: int, frame_at: int, stack_top: int) -> tuple[bytes, int]:
    """The part of the stub that brings the thread home from wherever it was in the scratch memory.

    Args:
        code: its address.
        frame_at: address of the `frame`.
        stack_top: a stack to use for a moment.

    Returns:
        The code, and the address of its last system call, which restores the signal mask.
    """
    take_back_errno = load_register("rcx", ERRNO_VALUE) + b"\x89\x08"  # mov [rax], ecx
    interrupted = (
        load_register("rax", INTERRUPTED_RIP)
        + store_register("rax", _slot("rip"))
        + b"\x48\xc7\xc0\xfc\xff\xff\xff"  # mov rax, -EINTR
        + store_register("rax", _slot("rax"))
    )
    before = (
        set_register("rbx", frame_at)
        + set_register("rsp", stack_top)
        + load_register("rax", ERRNO_ADDRESS)
        + _unless_zero(take_back_errno)
        + b"\x48\x8d\xbb"  # lea rdi, [rbx + PENDING]
        + struct.pack("<i", PENDING)
        + set_register("rsi", 8)
        + set_register("rax", SystemCalls.RT_SIGPENDING)
        + _SYSCALL
        + load_register("rax", PENDING)
        + load_register("rcx", FILTER)
        + b"\x48\x21\xc8"  # and rax, rcx
        + _unless_zero(interrupted)
        + _xrstor(EXTENDED_STATE, (1 << 64) - 1)
        + b"\xff\xb3"  # push [rbx + FLAGS]
        + struct.pack("<i", FLAGS)
        + b"\x9d"  # popfq; from here on no instruction touches the flags
        + load_register("rsp", STACK_POINTER)
        + _set_mask(b"\x48\x8d\xb3" + struct.pack("<i", OLD_MASK))  # lea rsi, [rbx + OLD_MASK]
    )
    after = b"".join(
        load_register(name, _slot(name)) for name in _GENERAL_ORDER if name not in ("rbx", "rip")
    ) + load_register("rbx", _slot("rbx"))
    last = code + len(before) + len(after) + 6
    jump = b"\xff\x25" + struct.pack("<i", frame_at + _slot("rip") - last)
    image = before + after + jump
    if len(image) > _EPILOGUE_ROOM:
        raise AssertionError("the epilogue has outgrown its room")
    return image.ljust(_EPILOGUE_ROOM, b"\xcc"), code + len(before) - len(_SYSCALL)


def _unless_zero(code: bytes) -> bytes:
    """`code`, jumped over where rax is 0."""
    return b"\x48\x85\xc0\x74" + bytes([len(code)]) + code


@dataclass(frozen=True, slots=True)
class Step:
    """One call in a program, with its arguments made into words.

    Attributes:
        target: address of a function, or number of a system call.
        system: whether it is a system call.
        arguments: words, or `Slot`s that stand for the result of an earlier step.
        given: a step whose result must not be 0, else this one is left out.
        unless: a step whose result must be 0, else this one is left out.
    """

    target: int
    system: bool
    arguments: tuple["int | Slot", ...]
    given: int | None = None
    unless: int | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """The result of an earlier step."""

    index: int


def program(
    code: int, frame_at: int, epilogue_at: int, steps: list[Step], errno_location: int
) -> bytes:
    """The part of the stub that makes the calls.

    Args:
        code: its address.
        frame_at: address of the `frame`.
        epilogue_at: where it goes after the last call.
        steps: the calls, in order.
        errno_location: address of __errno_location; 0 leaves errno alone.
    """
    image = set_register("rbx", frame_at) + _xrstor(CLEAN_STATE, ((1 << 64) - 1) & ~_PKRU_BIT)
    if errno_location:
        image += set_register("r11", errno_location) + b"\x41\xff\xd3"  # call r11
        image += store_register("rax", ERRNO_ADDRESS)
        image += b"\x8b\x08" + store_register("rcx", ERRNO_VALUE)  # mov ecx, [rax]
    for index, step in enumerate(steps):
        call = _step(step, index, with_errno=bool(errno_location))
        for condition, jump in ((step.given, b"\x0f\x84"), (step.unless, b"\x0f\x85")):
            if condition is not None:  # test rax, rax; jz or jnz past the call
                test = load_register("rax", RESULTS + 8 * condition) + b"\x48\x85\xc0"
                call = test + jump + struct.pack("<i", len(call)) + call
        image += call
    return image + b"\xe9" + struct.pack("<i", epilogue_at - (code + len(image) + 5))


def _step(step: Step, index: int, *, with_errno: bool) -> bytes:
    names = _SYSTEM_CALL_ARGUMENTS if step.system else _ARGUMENTS
    code = b""
    for name, value in zip(names, step.arguments, strict=False):
        if isinstance(value, Slot):
            code += load_register(name, RESULTS + 8 * value.index)
        else:
            code += set_register(name, value)
    if step.system:
        return (
            code
            + set_register("rax", step.target)
            + _SYSCALL
            + store_register("rax", RESULTS + 8 * index)
        )
    code += set_register("r11", step.target)
    code += set_register("rax", 0)  # no vector registers hold variadic arguments
    code += b"\x41\xff\xd3" + store_register("rax", RESULTS + 8 * index)
    if with_errno:
        code += load_register("rax", ERRNO_ADDRESS) + b"\x8b\x00"  # mov eax, [rax]
        code += store_register("rax", ERRNOS + 8 * index)
    return code
