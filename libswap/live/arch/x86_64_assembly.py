"""x86-64: instructions with labels, encoded by iced-x86."""

from typing import Any, Final, NamedTuple

from libswap.errors.base import MissingTool

_ALIGNMENT: Final = 16
_IMM64: Final = "MOV_R64_IMM64"


class At(NamedTuple):
    """Memory at a register plus an offset."""

    base: str
    offset: int = 0


class Label(NamedTuple):
    """A place in the same code, by name."""

    name: str


class Assembly:
    """Instructions in the order in which they are added.

    Code names are those of iced-x86: the mnemonic and the kinds of its operands.
    """

    def __init__(self) -> None:
        """Begin empty.

        Raises:
            MissingTool: iced-x86 is not installed.
        """
        try:
            import iced_x86 as iced  # noqa: PLC0415  an optional package, and slow to import
        except ImportError:
            raise MissingTool(
                "iced-x86", "make code for a process", "pip install 'libswap[live]'"
            ) from None
        self._iced: Any = iced
        self._made: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._pending = ""

    def add(self, code: str, *operands: str | int | At | Label, lock: bool = False) -> None:
        """An instruction."""
        kinds = "_".join(_kind(code, operand) for operand in operands)
        create = getattr(self._iced.Instruction, f"create_{kinds}" if kinds else "create")
        made = create(getattr(self._iced.Code, code), *map(self._operand, operands))
        made.has_lock_prefix = lock
        self._append(made)

    def label(self, name: str) -> None:
        """The next instruction has this name."""
        if self._pending:
            self.add("NOPD")
        self._pending = name

    def go(self, name: str, condition: str = "JMP") -> None:
        """A branch to a label."""
        self.add(f"{condition}_REL32_64", Label(name))

    def away(self, address: int, how: str = "JMP") -> None:
        """A jump or call to an address, however far, which needs no register."""
        instruction, code = self._iced.Instruction, getattr(self._iced.Code, f"{how}_REL32_64")
        self._append(instruction.create_branch(code, address))

    def forget_return(self) -> None:
        """After a call: its return address does not stay on the stack.

        Whoever searches stacks for addresses in our code would take it for a call that is running.
        """
        self.add("MOV_RM64_IMM32", At("RSP", -8), 0)

    def call(self, address: int) -> None:
        """A call of code of our own, likewise."""
        self.away(address, "CALL")
        self.forget_return()

    def repeat_move(self) -> None:
        """`rep movsq`."""
        self._append(self._iced.Instruction.create_rep_movsq(64))

    def push(self, *registers: str) -> None:
        """Onto the stack."""
        for register in registers:
            self.add("PUSH_R64", register)

    def pop(self, *registers: str) -> None:
        """From the stack."""
        for register in registers:
            self.add("POP_R64", register)

    def encoded(self, at: int) -> bytes:
        """The bytes, to lie at an address, padded to a multiple of 16."""
        if self._pending:
            self.add("NOPD")
        encoder = self._iced.BlockEncoder(64)
        encoder.add_many(self._made)
        code: bytes = encoder.encode(at)
        return code + b"\xcc" * (-len(code) % _ALIGNMENT)

    def _append(self, made: Any) -> None:  # noqa: ANN401  iced has no types
        if self._pending:
            made.ip = self._number(self._pending)
            self._pending = ""
        self._made.append(made)

    def _operand(self, operand: str | int | At | Label) -> Any:  # noqa: ANN401  iced has no types
        match operand:
            case At(base, offset):
                register = getattr(self._iced.Register, base)
                return self._iced.MemoryOperand(register, displ=offset, displ_size=bool(offset))
            case Label(name):
                return self._number(name)
            case str():
                return getattr(self._iced.Register, operand)
            case _:
                return operand

    def _number(self, name: str) -> int:
        return self._numbers.setdefault(name, 1 + len(self._numbers))


def _kind(code: str, operand: str | int | At | Label) -> str:
    match operand:
        case At():
            return "mem"
        case Label():
            return "branch"
        case str():
            return "reg"
        case _:
            return "u64" if code == _IMM64 else "i32"
