"""Frozen facts as JSON, and read from JSON that a stranger may have written: all of it, or none.

What a record says is shown to people, added to addresses and packed into words; a text where a
number should be, or a number that fits no word, must be found here and not there.
"""

import json
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from libswap.linux.names import as_name

T = TypeVar("T")

Hex: TypeAlias = Annotated[str, "hexadecimal"]
"""Bytes as text."""
Reader: TypeAlias = Callable[[Any], Any]

_WORD: Final = 1 << 64
_LATEST: Final = float(1 << 36)
"""Seconds since the epoch that a calendar knows: some two thousand years."""


def written(value: object) -> str:
    """A fact as JSON that `read` understands; `dataclasses.asdict` takes five times as long."""
    return json.dumps(value, default=_members, separators=(",", ":"))


def _members(fact: object) -> dict[str, object]:
    return {name: getattr(fact, name) for name in _names(typing.cast("Any", type(fact)))}


@cache
def _names(kind: Any) -> tuple[str, ...]:  # noqa: ANN401  the class of a fact
    return tuple(f.name for f in fields(kind))


def read(found: object, expected: type[T]) -> T:
    """The facts of this class that parsed JSON holds.

    Raises:
        ValueError: it holds something else.
    """
    value: T = _reader(typing.cast("Any", expected))(found)
    return value


@cache
def _reader(expected: Any) -> Reader:  # noqa: ANN401  a type, or a typing form
    simple: dict[Any, Reader] = {int: _word, float: _moment, str: _text, bool: _flag, Hex: _hex}
    if expected in simple:
        return simple[expected]
    origin, members = typing.get_origin(expected), typing.get_args(expected)
    if origin is tuple:
        return _several(members)
    if origin in (typing.Union, types.UnionType):
        (member,) = (m for m in members if m is not type(None))
        inner = _reader(member)
        return lambda found: None if found is None else inner(found)
    if isinstance(expected, type) and is_dataclass(expected):
        return _facts(expected)
    assert issubclass(expected, StrEnum)  # noqa: S101  records hold nothing else
    return lambda found: expected(_text(found))


def _facts(expected: type[Any]) -> Reader:
    hints = typing.get_type_hints(expected, include_extras=True)
    readers = {f.name: _reader(hints[f.name]) for f in fields(expected)}
    needed = {f.name for f in fields(expected) if f.default is MISSING}

    def reader(found: Any) -> Any:  # noqa: ANN401  what JSON holds
        if not isinstance(found, dict) or not needed <= found.keys() <= readers.keys():
            raise ValueError(f"no {expected.__name__}")
        return expected(**{name: readers[name](value) for name, value in found.items()})

    return reader


def _several(members: tuple[Any, ...]) -> Reader:
    if members[-1] is Ellipsis:
        each = _reader(members[0])
        return lambda found: tuple(map(each, _list(found)))
    readers = [_reader(member) for member in members]

    def reader(found: Any) -> tuple[Any, ...]:  # noqa: ANN401  what JSON holds
        if len(_list(found)) != len(readers):
            raise ValueError(f"{len(found)} values where {len(readers)} should be")
        return tuple(r(value) for r, value in zip(readers, found, strict=True))

    return reader


def _list(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError("no list where one should be")  # noqa: TRY004  the record's fault
    return found


def _word(found: object) -> int:
    if type(found) is not int or not 0 <= found < _WORD:
        raise ValueError("no number that fits a word")
    return found


def _moment(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError("no number where one should be")  # noqa: TRY004  the record's fault
    if not -_LATEST <= found <= _LATEST:
        raise ValueError("no time of any calendar")
    return float(found)


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise ValueError("no text where one should be")  # noqa: TRY004  the record's fault
    return found if found.isascii() else as_name(found)


def _hex(found: object) -> str:
    bytes.fromhex(_text(found))
    return _text(found)


def _flag(found: object) -> bool:
    if not isinstance(found, bool):
        raise ValueError("neither true nor false")  # noqa: TRY004  the record's fault
    return found
