"""What DWARF says about functions: their parameters, and where copies of them were inlined.

Source: DWARF 5 sections 3.3 "Subroutine and Entry Point Entries", 6.1.2 ".debug_aranges".
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from libswap.elf.dwarf import MAX_UNIT, dwarf_of, readable
from libswap.elf.image import Image

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE

_DEEPEST_TYPE: Final = 16
_WORD: Final = 8
_FLOAT: Final = 4
_COMPLEX_FLOAT: Final = 3
"""DW_ATE_float, DW_ATE_complex_float (DWARF 5 table 7.11)."""
_TRANSPARENT: Final = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")
_RECORDS: Final = ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type")
_POINTERS: Final = (
    "DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subprogram:
    """One function.

    Attributes:
        returns: size in bytes and name of what it returns; (0, "void") for nothing.
        parameters: likewise of its parameters, in order.
        variadic: whether more may follow.
        inlined_into: functions of the same source file that hold a copy of it.
        kinds: the types of what it returns and of its parameters, without the names that typedef
            gives them: "struct x *".
        results: which of rdx, xmm0 and xmm1 its result can be in (psABI section 3.2.3).
    """

    name: str
    returns: tuple[int, str]
    parameters: tuple[tuple[int, str], ...]
    variadic: bool
    inlined_into: tuple[str, ...]
    kinds: tuple[str, ...]
    results: frozenset[str]

    @property
    def shape(self) -> object:
        """What two versions of a function must have in common for one to stand in for the other."""
        return self.returns[0], tuple(size for size, _ in self.parameters), self.variadic

    def __str__(self) -> str:
        parameters = [name for _, name in self.parameters] + ["..."] * self.variadic
        return f"{self.returns[1]} {self.name}({', '.join(parameters) or 'void'})"


def subprograms(image: Image, wanted: dict[str, int | None]) -> dict[str, Subprogram]:
    """What the debug information of a file says about some functions.

    Args:
        image: a file with .debug_info.
        wanted: name -> address, or None to look in every unit (of an object).

    Returns:
        The ones that were found; a file without, with damaged, or with too much debug information
        tells nothing.
    """
    if not readable(image):
        return {}
    try:
        return dict(_read(image, wanted))
    except Exception:  # noqa: BLE001  pyelftools raises whatever its tables trip over
        return {}


def pointed_to(image: Image, prefix: str) -> dict[str, Subprogram]:
    """The types of functions that variables point to whose names begin so, by the rest of these."""
    if not readable(image):
        return {}
    try:
        return {one.name: one for one in _pointed_to(image, prefix)}
    except Exception:  # noqa: BLE001  pyelftools raises whatever its tables trip over
        return {}


def _pointed_to(image: Image, prefix: str) -> Iterator[Subprogram]:
    for unit in dwarf_of(image).iter_CUs():
        if unit.size > MAX_UNIT:
            continue
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_variable" and _own_name(die).startswith(prefix):
                function = die.get_DIE_from_attribute("DW_AT_type").get_DIE_from_attribute(
                    "DW_AT_type"
                )
                name = _own_name(die).removeprefix(prefix)
                yield replace(_subprogram(function, ()), name=name)


def _read(image: Image, wanted: dict[str, int | None]) -> Iterator[tuple[str, Subprogram]]:
    dwarf = dwarf_of(image)
    ranges = dwarf.get_aranges()
    units: dict[int, tuple[Any, list[str]]] = {}
    for name, address in wanted.items():
        for unit in _units(dwarf, ranges, address):
            if unit.size <= MAX_UNIT:
                units.setdefault(unit.cu_offset, (unit, []))[1].append(name)
    for unit, names in units.values():
        yield from _of_unit(unit, set(names))


def _units(dwarf: Any, ranges: Any, address: int | None) -> Iterator["CompileUnit"]:  # noqa: ANN401  pyelftools has no types
    if address is None:
        yield from dwarf.iter_CUs()
        return
    offset = ranges.cu_offset_at_addr(address) if ranges else None
    if offset is not None:
        yield dwarf.get_CU_at(offset)
        return
    for unit in dwarf.iter_CUs():
        low, high = _bounds(unit.get_top_DIE())
        if low <= address < high:
            yield unit


def _bounds(die: "DIE") -> tuple[int, int]:
    """DW_AT_low_pc and DW_AT_high_pc, which is an offset where it is no address."""
    low, high = die.attributes.get("DW_AT_low_pc"), die.attributes.get("DW_AT_high_pc")
    if low is None or high is None:
        return 0, 0
    end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
    return low.value, end


def _of_unit(unit: "CompileUnit", names: set[str]) -> Iterator[tuple[str, Subprogram]]:
    functions: dict[int, DIE] = {}
    copies: dict[int, set[str]] = {}
    for die in unit.iter_DIEs():
        if die.tag == "DW_TAG_subprogram" and _name(die) in names:
            functions[die.offset] = die
        elif die.tag == "DW_TAG_inlined_subroutine":
            origin = die.get_DIE_from_attribute("DW_AT_abstract_origin")
            if _name(origin) in names:
                copies.setdefault(origin.offset, set()).add(_owner(die))
    for offset, die in functions.items():
        if "DW_AT_abstract_origin" in die.attributes:
            continue
        into = copies.get(offset, set()) - {""}
        yield _name(die), _subprogram(die, tuple(sorted(into)))


def _subprogram(die: "DIE", into: tuple[str, ...]) -> Subprogram:
    children = list(die.iter_children())
    parameters = [c for c in children if c.tag == "DW_TAG_formal_parameter"]
    variadic = any(c.tag == "DW_TAG_unspecified_parameters" for c in children)
    kinds = tuple(map(_kind, (die, *parameters)))
    return Subprogram(_name(die), _type(die), tuple(map(_type, parameters)), variadic, into, kinds,
                      _results(die))  # fmt: skip


def _name(die: "DIE", depth: int = 0) -> str:
    """The linkage name, or the name, of a function; that of what it is an instance of."""
    for attribute in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name"):
        if attribute in die.attributes:
            return str(die.attributes[attribute].value.decode("utf-8", "surrogateescape"))
    for attribute in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if attribute in die.attributes and depth < 4:
            return _name(die.get_DIE_from_attribute(attribute), depth + 1)
    return ""


def _owner(die: "DIE") -> str:
    """The function that a copy was inlined into."""
    above: DIE | None = die
    while above is not None and above.tag != "DW_TAG_subprogram":
        above = above.get_parent()
    return "" if above is None else _name(above)


def _type(die: "DIE", depth: int = 0) -> tuple[int, str]:
    """Size in bytes and name of what DW_AT_type leads to."""
    if "DW_AT_type" not in die.attributes:
        return (0, "void") if depth == 0 else (0, "")
    found = die.get_DIE_from_attribute("DW_AT_type")
    if found.tag in _POINTERS:
        inner = _type(found, depth + 1)[1] if depth < _DEEPEST_TYPE else ""
        return 8, f"{inner or 'void'} *"
    size, name = 0, ""
    if "DW_AT_byte_size" in found.attributes:
        size = int(found.attributes["DW_AT_byte_size"].value)
    if "DW_AT_name" in found.attributes:
        name = found.attributes["DW_AT_name"].value.decode("utf-8", "surrogateescape")
    if not size and depth < _DEEPEST_TYPE:
        inner_size, inner_name = _type(found, depth + 1)
        return inner_size, name or inner_name
    return size, name or str(found.tag).removeprefix("DW_TAG_")


def _kind(die: "DIE", alias: str = "", depth: int = 0) -> str:
    """What DW_AT_type leads to; a structure without a name has the one that typedef gives it."""
    if "DW_AT_type" not in die.attributes or depth > _DEEPEST_TYPE:
        return "void"
    found = die.get_DIE_from_attribute("DW_AT_type")
    if found.tag in _TRANSPARENT:
        return _kind(found, _own_name(found) or alias, depth + 1)
    if found.tag in _POINTERS:
        return f"{_kind(found, depth=depth + 1)} *"
    word = str(found.tag).removeprefix("DW_TAG_").removesuffix("_type")
    name = _own_name(found)
    if found.tag in _RECORDS:
        return f"{'union' if word == 'union' else 'struct'} {name or alias or '?'}"
    return name or word


def _own_name(die: "DIE") -> str:
    given = die.attributes.get("DW_AT_name")
    return "" if given is None else str(given.value.decode("utf-8", "surrogateescape"))


def _results(die: "DIE", depth: int = 0) -> frozenset[str]:
    """All that come into question where the type does not tell."""
    if "DW_AT_type" not in die.attributes:
        return frozenset()
    found = die.get_DIE_from_attribute("DW_AT_type")
    size = _type(die)[0]
    if found.tag in _TRANSPARENT and depth < _DEEPEST_TYPE:
        return _results(found, depth + 1)
    if found.tag in (*_POINTERS, "DW_TAG_enumeration_type"):
        return frozenset()
    if found.tag == "DW_TAG_base_type":
        encoding = found.attributes["DW_AT_encoding"].value
        if encoding not in (_FLOAT, _COMPLEX_FLOAT):
            return frozenset(["rdx"] if size > _WORD else [])
        return frozenset(["xmm0"] if size <= _WORD else ["xmm0", "xmm1"])
    memory = found.tag in _RECORDS and size > 2 * _WORD
    return frozenset() if memory else frozenset(["rdx", "xmm0", "xmm1"])
