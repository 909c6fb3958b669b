"""Checksummed lines of JSON that hold frozen facts: how the journal and the history are written.

A line is the first 32 hexadecimal digits of the SHA-256 of its text, a blank, the text and a
newline. JSON is written in ASCII, and names that are no UTF-8 survive as surrogates (PEP 383).
"""

import dataclasses
import enum
import functools
import hashlib
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from libswap.linux.names import as_name

T = TypeVar("T")

MAX_LINE: Final = 1 << 24
_SUM: Final = 32
_WORD: Final = 1 << 64
_LATEST: Final = float(1 << 36)
"""Seconds since the epoch that a calendar knows: some two thousand years."""


class Malformed(Exception):
    """A text whose checksum is right does not say what it should."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that was torn by a crash or changed since.

    Attributes:
        number: which line, from 1.
        last: whether nothing follows it, as when its writing was interrupted.
    """

    number: int
    last: bool


def line(value: object) -> bytes:
    """A frozen dataclass as one line."""
    text = json.dumps(_plain(value), separators=(",", ":")).encode("ascii")
    return _sum(text) + b" " + text + b"\n"


def lines(data: bytes) -> Iterator[bytes | Damage]:
    """The text of each whole line, and where one is damaged, that."""
    parts = data.split(b"\n")
    ended = parts[-1] == b""
    if ended:
        parts.pop()
    for number, part in enumerate(parts, 1):
        head, _, text = part.partition(b" ")
        last = number == len(parts)
        whole = (ended or not last) and len(part) <= MAX_LINE and head == _sum(text)
        yield text if whole else Damage(number, last)


def parse(text: bytes, *expected: type[T]) -> T:
    """The dataclass, one of those expected, that a line's text holds.

    Raises:
        Malformed: the text is something else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    value = _read_union(found, expected)
    assert isinstance(value, expected)  # noqa: S101  _read_union has just made sure
    return value


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_SUM].encode("ascii")


def _plain(value: object) -> object:
    match value:
        case enum.Enum():
            return value.value
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(item) for item in value]
        case None | bool() | int() | float() | str():
            return value
    assert dataclasses.is_dataclass(value)  # noqa: S101  what we write ourselves
    named = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return {"kind": type(value).__name__, **named}


def _read(found: object, expected: Any) -> object:  # noqa: ANN401  a type, or a typing form
    if type(found) is expected:
        if isinstance(found, int | float):
            return _number(found, _LATEST if expected is float else _WORD)
        return _text(found) if isinstance(found, str) and not found.isascii() else found
    origin = typing.get_origin(expected)
    if origin in (typing.Union, types.UnionType):
        return _read_union(found, typing.get_args(expected))
    if origin is tuple:
        return _read_tuple(found, typing.get_args(expected))
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return _read_dataclass(found, expected)
    try:
        if expected is bytes and isinstance(found, str):
            return bytes.fromhex(found)
        if isinstance(expected, type) and issubclass(expected, enum.Enum):
            return expected(found)
    except ValueError as error:
        raise Malformed(str(error)) from None
    if expected is float and type(found) is int:
        return _number(found, _LATEST)
    raise Malformed(f"{type(found).__name__} where {expected} should be")


def _number(found: float, most: float) -> float:
    """What a file has, or a time of any calendar; others overflow where they are shown."""
    if not -most <= found <= most:
        raise Malformed("a number that nothing has")
    return found


def _text(found: str) -> str:
    """Names are read under another locale, perhaps, than they were written."""
    try:
        return as_name(found)
    except UnicodeEncodeError:
        raise Malformed("a text that can be a name in no locale") from None


def _read_union(found: object, members: tuple[Any, ...]) -> object:
    if found is None and type(None) in members:
        return None
    candidates = [m for m in members if m is not type(None)]
    if len(candidates) == 1:
        return _read(found, candidates[0])
    kind = found.get("kind") if isinstance(found, dict) else None
    for member in candidates:
        if member.__name__ == kind:
            return _read(found, member)
    raise Malformed(f"no {kind} can stand here")


def _read_tuple(found: object, members: tuple[Any, ...]) -> tuple[object, ...]:
    if not isinstance(found, list):
        raise Malformed(f"{type(found).__name__} where a list should be")
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(_read(item, members[0]) for item in found)
    if len(found) != len(members):
        raise Malformed(f"{len(found)} values where {len(members)} should be")
    return tuple(_read(item, member) for item, member in zip(found, members, strict=True))


def _read_dataclass(found: object, expected: type[Any]) -> object:
    if not isinstance(found, dict):
        raise Malformed(f"{type(found).__name__} where {expected.__name__} should be")
    values = {}
    fields = _fields(expected)  # type: ignore[arg-type]  # every class is hashable
    for name, (hint, needed) in fields.items():
        if name in found:
            values[name] = _read(found[name], hint)
        elif needed:
            raise Malformed(f"{expected.__name__} without {name}")
    return expected(**values)


@functools.cache
def _fields(expected: type[Any]) -> dict[str, tuple[Any, bool]]:
    """The type of each field of a dataclass, and whether it must be there: slow to find out."""
    hints = typing.get_type_hints(expected)
    missing = dataclasses.MISSING
    return {f.name: (hints[f.name], f.default is missing) for f in dataclasses.fields(expected)}
