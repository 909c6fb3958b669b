"""A TOML table whose keys are taken one by one, each checked; what is left over is an error."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from libswap.errors.watch import InvalidConfiguration
from libswap.linux.names import as_name

T = TypeVar("T")

_LONGEST: Final = 7 * 24 * 3600.0
_SIZE: Final = re.compile(r"([0-9]+) ?(B|KiB|MiB|GiB|TiB)")
_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(slots=True)
class Table:
    """A TOML table whose keys are taken one by one; what is left is an error.

    Attributes:
        file: the path of the file.
        where: the name of the table in it.
        values: what it holds.
    """

    file: str
    where: str
    values: dict[str, Any]
    _known: set[str] = field(default_factory=set)

    def bad(self, key: str, problem: str) -> InvalidConfiguration:
        """The error that says what is wrong with a key."""
        return InvalidConfiguration(self.file, f"{self.where}{key}", problem)

    def take(self, key: str, kind: type[T], default: T) -> T:
        """A value of one type."""
        self._known.add(key)
        value = self.values.get(key, default)
        if type(value) is not kind:
            raise self.bad(key, f"{_NAMES[kind]} is expected, not {value!r}")
        return cast("T", as_name(value)) if isinstance(value, str) else value

    def seconds(
        self, key: str, default: float, *, least: float = 0.0, most: float = _LONGEST
    ) -> float:
        """A time in seconds."""
        value = self.values.get(key, default)
        if type(value) is int:
            self._known.add(key)
            value = float(value)
        else:
            value = self.take(key, float, default)
        if not least <= value <= most:
            raise self.bad(key, f"{value:g} seconds are not between {least:g} and {most:g}")
        return value

    def count(self, key: str, default: int, *, least: int = 0) -> int:
        """A number of things."""
        value = self.take(key, int, default)
        if value < least:
            raise self.bad(key, f"it must be at least {least}")
        return value

    def size(self, key: str, default: int) -> int:
        """A number of bytes, or one with a unit, such as "512 MiB"."""
        if isinstance(self.values.get(key), str):
            found = _SIZE.fullmatch(self.take(key, str, ""))
            if found is None:
                raise self.bad(key, 'a size is a number of bytes, or written "512 MiB"')
            return int(found[1]) * _UNITS[found[2]]
        return self.count(key, default)

    def path(self, key: str) -> str:
        """An absolute path, which must be there."""
        if key not in self.values:
            raise self.bad(key, "it is missing")
        value = self.take(key, str, "")
        if not value.startswith("/") or "\0" in value:
            raise self.bad(key, "an absolute path is expected")
        return os.path.normpath(value)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of words."""
        value: list[Any] = self.take(key, list, list(default))
        if not all(isinstance(word, str) and word for word in value):
            raise self.bad(key, "a list of words is expected")
        return tuple(map(as_name, value))

    def each(self, key: str, parser: Callable[[str], T]) -> tuple[T, ...]:
        """A list of words that each mean something."""
        found = []
        for number, word in enumerate(self.words(key, ())):
            try:
                found.append(parser(word))
            except ValueError as error:
                raise self.bad(f"{key}[{number}]", str(error)) from None
        return tuple(found)

    def choice(self, key: str, default: Any) -> Any:  # noqa: ANN401  an enum's member
        """One of the values of an enum."""
        word = self.take(key, str, default.value)
        known = [member.value for member in type(default)]
        if word not in known:
            raise self.bad(key, f"{word!r} is none of: {', '.join(known)}")
        return type(default)(word)

    def table(self, key: str) -> "Table":
        """A table in this one; an empty one where there is none."""
        return Table(self.file, f"{self.where}{key}.", self.take(key, dict, {}))

    def tables(self, key: str) -> Iterator["Table"]:
        """The tables of an array."""
        for number, value in enumerate(self.take(key, list, [])):
            where = f"{key}[{number}]"
            if not isinstance(value, dict):
                raise self.bad(where, "a table is expected")
            yield Table(self.file, f"{where}.", value)

    def end(self) -> None:
        """Make sure that nothing was left over: a key that is misspelt would change nothing."""
        unknown = sorted(self.values.keys() - self._known)
        if unknown:
            raise self.bad(unknown[0], f"no such key; there are {', '.join(sorted(self._known))}")


_NAMES: Final[dict[type, str]] = {
    str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list",
    dict: "a table",
}  # fmt: skip
