"""The configuration file: TOML, every key known, every value checked, or nothing of it is used."""

import base64
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from libswap.errors.watch import InvalidConfiguration, UntrustedDrop
from libswap.install.replace import open_source
from libswap.watch import hours, signature
from libswap.watch.rule import (
    Accept,
    Configuration,
    Health,
    Limits,
    Metrics,
    Policy,
    Require,
    Rule,
    Trust,
)
from libswap.watch.settle import Patience
from libswap.watch.trust import open_trusted, others_write

T = TypeVar("T")

_MOST: Final = 1 << 20
_LONGEST: Final = 7 * 24 * 3600.0
_SIZE: Final = re.compile(r"([0-9]+) ?(B|KiB|MiB|GiB|TiB)")
_UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def load(path: str) -> Configuration:
    """Read a file that only root and we can have written.

    Raises:
        InvalidConfiguration: it cannot be followed; the error names the line or the key.
        SourceUnreadable: it is not there.
        UntrustedDrop: others could write to it.
    """
    real = os.path.realpath(path)
    os.close(open_source(real))
    with open_trusted(os.path.dirname(real), sticky=True) as directory:  # noqa: PTH120
        descriptor = directory.open(os.path.basename(real))  # noqa: PTH119
        try:
            if reason := others_write(os.fstat(descriptor), os.geteuid()):
                raise UntrustedDrop(path, reason)
            data = os.pread(descriptor, _MOST + 1, 0)
        finally:
            os.close(descriptor)
    return parse(data, path)


def parse(data: bytes, path: str) -> Configuration:
    """What the bytes of a file say.

    Raises:
        InvalidConfiguration: they cannot be followed.
    """
    if len(data) > _MOST:
        raise InvalidConfiguration(path, "", f"it is longer than {_MOST:,} bytes")
    try:
        document = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidConfiguration(path, "", str(error)) from None
    table = _Table(path, "", document)
    rules = tuple(_rule(each) for each in table.tables("drop"))
    found = Configuration(
        rules,
        rescan=table.seconds("rescan", 60.0, least=1.0),
        systemctl=table.take("systemctl", str, "systemctl"),
        metrics=_metrics(table.table("metrics")),
    )
    table.end()
    _require_distinct(table, rules)
    return found


def _rule(table: "_Table") -> Rule:
    trust = _trust(table.table("trust"))
    found = Rule(
        directory=table.path("directory"),
        to=table.path("to"),
        policy=table.choice("policy", Policy.NONE),
        names=table.words("names", ("*",)),
        ignore=table.words("ignore", ()),
        targets=tuple(_targets(table.table("targets"))),
        new=table.take("new", bool, default=False),
        accept=table.choice("accept", Accept.COMPATIBLE),
        patience=_patience(table),
        gather=table.seconds("gather", 60.0),
        quiet=table.each("quiet_hours", hours.parse),
        health=_health(table.table("health")),
        trust=trust,
        limits=_limits(table.table("limits")),
    )
    table.end()
    return found


def _patience(table: "_Table") -> Patience:
    usual = Patience()
    return Patience(
        settle=table.seconds("settle", usual.settle),
        quiet=table.seconds("settle_unseen", usual.quiet),
        incomplete=table.seconds("incomplete", usual.incomplete),
    )


def _targets(table: "_Table") -> Iterator[tuple[str, str]]:
    for pattern in tuple(table.values):
        yield pattern, table.path(pattern)


def _health(table: "_Table") -> Health:
    usual = Health()
    found = Health(
        command=table.words("command", ()),
        timeout=table.seconds("timeout", usual.timeout, most=300.0),
        alive=table.seconds("alive", usual.alive, most=3600.0),
        processes=table.words("processes", usual.processes),
    )
    table.end()
    return found


def _trust(table: "_Table") -> Trust:
    found = Trust(
        require=table.choice("require", Require.NOTHING),
        minisign_keys=table.each("minisign_keys", _minisign_key),
        ssh_keys=table.each("ssh_keys", _ssh_key),
        ssh_namespace=table.take("ssh_namespace", str, "libswap"),
    )
    table.end()
    has_keys = bool(found.minisign_keys or found.ssh_keys)
    if found.require is not Require.NOTHING and not has_keys:
        raise table.bad("require", "without minisign_keys or ssh_keys no signature can be right")
    if found.require is Require.NOTHING and has_keys:
        raise table.bad("require", 'keys are given; say require = "signature" or "manifest"')
    return found


def _minisign_key(text: str) -> str:
    signature.parse_minisign_key(text)
    return text


def _ssh_key(text: str) -> str:
    kind, _, rest = text.partition(" ")
    if not re.fullmatch(r"[a-z0-9@.-]+", kind) or not text.isprintable():
        raise ValueError('a key is written "ssh-ed25519 AAAA..."')
    base64.b64decode(rest.split(" ")[0], validate=True)
    return text


def _limits(table: "_Table") -> Limits:
    usual = Limits()
    found = Limits(
        file_bytes=table.size("file_bytes", usual.file_bytes),
        files=table.count("files", usual.files, least=1),
        free_bytes=table.size("free_bytes", usual.free_bytes),
        keep_files=table.count("keep_files", usual.keep_files),
        keep_bytes=table.size("keep_bytes", usual.keep_bytes),
        per_hour=table.count("per_hour", usual.per_hour),
        failures=table.count("failures", usual.failures),
    )
    table.end()
    return found


def _metrics(table: "_Table") -> Metrics:
    textfile = table.path("textfile") if "textfile" in table.values else ""
    found = Metrics(textfile, table.count("port", 0))
    table.end()
    if found.port > 65535:
        raise table.bad("port", f"{found.port} is no port")
    return found


def _require_distinct(table: "_Table", rules: tuple[Rule, ...]) -> None:
    if not rules:
        raise table.bad("drop", "there is no [[drop]]: nothing would be watched")
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.directory in seen:
            raise table.bad(f"drop[{number}].directory", "another [[drop]] has the same")
        if rule.to == rule.directory:
            raise table.bad(f"drop[{number}].to", "it is the drop directory itself")
        seen.add(rule.directory)


@dataclass(slots=True)
class _Table:
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
        return value

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
        return tuple(value)

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

    def table(self, key: str) -> "_Table":
        """A table in this one; an empty one where there is none."""
        return _Table(self.file, f"{self.where}{key}.", self.take(key, dict, {}))

    def tables(self, key: str) -> Iterator["_Table"]:
        """The tables of an array."""
        for number, value in enumerate(self.take(key, list, [])):
            where = f"{key}[{number}]"
            if not isinstance(value, dict):
                raise self.bad(where, "a table is expected")
            yield _Table(self.file, f"{where}.", value)

    def end(self) -> None:
        """Make sure that nothing was left over: a key that is misspelt would change nothing."""
        unknown = sorted(self.values.keys() - self._known)
        if unknown:
            raise self.bad(unknown[0], f"no such key; there are {', '.join(sorted(self._known))}")


_NAMES: Final[dict[type, str]] = {
    str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list",
    dict: "a table",
}  # fmt: skip
