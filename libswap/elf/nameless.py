"""What two files have in common that no symbol names, as whoever reads their code has found it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """Bytes of writable data that are the same thing in both. Virtual addresses of each file.

    Attributes:
        witnesses: instructions and pointers that name it and are the same in both files.
    """

    old: int
    new: int
    size: int
    witnesses: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """Writable bytes of the old file for which no counterpart is proven.

    Attributes:
        why: in words.
        users: functions of the old file that name them.
        written: whether code may write to them: an instruction does that names them, or they begin
            as zeros, for which nobody would have a variable that stays as it is.
    """

    old: int
    size: int
    why: str
    users: tuple[str, ...]
    written: bool = True


@dataclass(frozen=True, slots=True)
class Nameless:
    """All that is proven.

    Attributes:
        stretches: data, by ascending address in the old file.
        doubts: data of the old file that cannot be carried, likewise.
        choices: address and size of pointers to functions of the old file that each copy of it has
            chosen for itself when it was loaded.
        functions: (entry in the old file, entry in the new one) of those whose address is taken.
        users: functions of the old file that name or reach these stretches.
        whole: whether there was time to look at everything.
    """

    stretches: tuple[Stretch, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    choices: tuple[tuple[int, int], ...] = ()
    functions: tuple[tuple[int, int], ...] = ()
    users: tuple[int, ...] = ()
    whole: bool = True


NOTHING = Nameless()
