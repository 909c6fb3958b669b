"""What DWARF says about the structures that a library's functions work on, opaque ones too.

Source: DWARF 5 sections 5.7 "Structure, Union, Class and Interface Type Entries", 3.3, 4.1.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from libswap.elf.dwarf import MAX_UNIT, dwarf_of, readable
from libswap.elf.image import Image
from libswap.linux.budget import Budget

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_DEEPEST: Final = 16
_MOST_MEMBERS: Final = 4000
_MOST_ENTRIES: Final = 1 << 21
"""Of all units, each of which takes a quarter of a kilobyte and more."""
_POINTER_SIZE: Final = 8
_RECORDS: Final = {
    "DW_TAG_structure_type": "struct", "DW_TAG_class_type": "struct", "DW_TAG_union_type": "union",
}  # fmt: skip
_TRANSPARENT: Final = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type",
                       "DW_TAG_restrict_type", "DW_TAG_atomic_type")  # fmt: skip
_POINTERS: Final = ("DW_TAG_pointer_type", "DW_TAG_reference_type")
_VARIABLES: Final = ("DW_TAG_variable", "DW_TAG_formal_parameter")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A member, those of nameless structures inside with it.

    Attributes:
        start, size: in bits.
    """

    start: int
    size: int
    name: str


Layout: TypeAlias = tuple[int, tuple[Member, ...]]
"""Size in bytes, and the members by their places."""


@dataclass(frozen=True, slots=True)
class Records:
    """The structures of one library.

    Attributes:
        handled: name -> layouts, for what exported functions take or give back, what the library's
            own variables hold, and all that these lead to.
        used: likewise for what only pointers within exported functions lead to.
    """

    handled: dict[str, frozenset[Layout]]
    used: dict[str, frozenset[Layout]]


def records(image: Image, exported: Collection[str], budget: Budget) -> Records | None:
    """The structures that exported functions reach.

    Args:
        image: a file with .debug_info.
        exported: names of functions.
        budget: how long it is read.

    Returns:
        None where the debug information is missing, damaged or too much, or the time is used up.
    """
    if not readable(image):
        return None
    try:
        reader = _Reader(frozenset(exported), budget)
        reader.read(dwarf_of(image))
        handled = reader.reached(reader.handled)
        used = reader.reached(reader.used)
    except Exception:  # noqa: BLE001  pyelftools raises whatever its tables trip over
        return None
    return Records(handled, {n: r for n, r in used.items() if n not in handled})


class _Reader:
    def __init__(self, exported: frozenset[str], budget: Budget) -> None:
        self.exported = exported
        self.budget = budget
        self.whole: dict[str, list[DIE]] = defaultdict(list)
        self.names: dict[tuple[int, int], str] = {}
        self.handled: list[DIE] = []
        self.used: list[DIE] = []

    def read(self, dwarf: Any) -> None:  # noqa: ANN401  pyelftools has no types
        count = 0
        for unit in dwarf.iter_CUs():
            self.budget.check()
            if unit.size > MAX_UNIT:
                raise ValueError("too large a unit")  # half of the structures would be no answer
            for die in unit.iter_DIEs():
                self.budget.check()
                count += 1
                if count > _MOST_ENTRIES:
                    raise ValueError("too many entries")
                self._top(die)

    def _top(self, die: "DIE") -> None:
        tag = die.tag
        if tag in _RECORDS and "DW_AT_byte_size" in die.attributes:
            name = _text(die)
            if name:
                self.whole[f"{_RECORDS[tag]} {name}"].append(die)
        elif tag == "DW_TAG_typedef":
            inner = _inner(die)
            if inner is not None and inner.tag in _RECORDS and not _text(inner):
                self.names[_place(inner)] = _text(die)
                self.whole[_text(die)].append(inner)
        elif tag == "DW_TAG_subprogram" and _text(die) in self.exported:
            self._function(die)
        elif tag == "DW_TAG_variable" and _is_of_the_unit(die):
            self.handled.append(die)

    def _function(self, die: "DIE") -> None:
        self.handled.append(die)
        todo = list(die.iter_children())
        while todo:
            child = todo.pop()
            if child.tag == "DW_TAG_formal_parameter":
                self.handled.append(child)
            elif child.tag == "DW_TAG_variable" and _points(child):
                self.used.append(child)
            elif child.tag == "DW_TAG_lexical_block":
                todo += child.iter_children()

    def reached(self, roots: list["DIE"]) -> dict[str, frozenset[Layout]]:
        """Every structure that roots lead to, with each layout that has its name."""
        found: dict[str, frozenset[Layout]] = {}
        seen: set[tuple[int, int]] = set()
        todo = [d for root in roots if (d := _inner(root)) is not None]
        while todo:
            self.budget.check()
            die = todo.pop()
            if _place(die) in seen:
                continue
            seen.add(_place(die))
            if die.tag not in _RECORDS:
                inner = _inner(die)
                todo += [inner] if inner is not None else []
                continue
            name = self._name(die)
            ones = self.whole.get(name, []) if name else []
            if ones and name in found:
                continue
            if ones:
                found[name] = frozenset(self._layout(one) for one in ones)
            for one in ones or [die]:
                todo += [d for m in _members(one) if (d := _inner(m)) is not None]
        return found

    def _layout(self, die: "DIE") -> Layout:
        self.budget.check()
        return int(die.attributes["DW_AT_byte_size"].value), tuple(sorted(_flat(die)))

    def _name(self, die: "DIE") -> str:
        name = _text(die)
        return f"{_RECORDS[str(die.tag)]} {name}" if name else self.names.get(_place(die), "")


def _flat(die: "DIE") -> Iterator[Member]:
    """The members, those of nameless structures inside among them."""
    todo, count = [(die, 0)], 0
    while todo:
        record, base = todo.pop()
        for member in _members(record):
            count += 1
            if count > _MOST_MEMBERS:
                raise ValueError("too many members")
            start, name = base + _start(member), _text(member)
            inner = _bare(member)
            if not name and inner is not None and inner.tag in _RECORDS:
                todo.append((inner, start))
            else:
                bits = member.attributes.get("DW_AT_bit_size")
                yield Member(start, int(bits.value) if bits else 8 * _size(member), name)


def _start(member: "DIE") -> int:
    attributes = member.attributes
    if "DW_AT_data_bit_offset" in attributes:
        return int(attributes["DW_AT_data_bit_offset"].value)
    place = attributes.get("DW_AT_data_member_location")
    return 8 * int(place.value) if place is not None else 0


def _size(die: "DIE", depth: int = 0) -> int:
    """Bytes of what a thing is made of."""
    inner = _bare(die)
    if inner is None or depth > _DEEPEST:
        return 0
    if "DW_AT_byte_size" in inner.attributes:
        return int(inner.attributes["DW_AT_byte_size"].value)
    if inner.tag in _POINTERS:
        return _POINTER_SIZE
    if inner.tag != "DW_TAG_array_type":
        return 0
    count = 1
    for bounds in inner.iter_children():
        if "DW_AT_count" in bounds.attributes:
            count *= int(bounds.attributes["DW_AT_count"].value)
        elif "DW_AT_upper_bound" in bounds.attributes:
            count *= int(bounds.attributes["DW_AT_upper_bound"].value) + 1
        else:
            return 0  # int last[]
    return count * _size(inner, depth + 1)


def _members(die: "DIE") -> Iterator["DIE"]:
    return (c for c in die.iter_children() if c.tag in ("DW_TAG_member", "DW_TAG_inheritance")
            and "DW_AT_external" not in c.attributes)  # fmt: skip


def _bare(die: "DIE") -> "DIE | None":
    """What DW_AT_type leads to, through other names for it."""
    found = _inner(die)
    for _ in range(_DEEPEST):
        if found is None or found.tag not in _TRANSPARENT:
            break
        found = _inner(found)
    return found


def _points(die: "DIE") -> bool:
    found = _bare(die)
    return found is not None and found.tag in _POINTERS


def _inner(die: "DIE") -> "DIE | None":
    for attribute in ("DW_AT_type", "DW_AT_abstract_origin", "DW_AT_specification"):
        if attribute in die.attributes:
            found: DIE = die.get_DIE_from_attribute(attribute)
            return found
    return None


def _is_of_the_unit(die: "DIE") -> bool:
    parent = die.get_parent()
    return parent is not None and parent.tag in ("DW_TAG_compile_unit", "DW_TAG_namespace")


def _place(die: "DIE") -> tuple[int, int]:
    return die.cu.cu_offset, die.offset


def _text(die: "DIE") -> str:
    name = die.attributes.get("DW_AT_name")
    return str(name.value.decode("utf-8", "surrogateescape")) if name is not None else ""
