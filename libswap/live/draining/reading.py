"""Read descriptions of handles: TOML files, of this program and of its users, bounded and strict.

docs/reference/handles.md tells the format.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from libswap.errors.handles import HandlesInvalid, HandlesUnknown
from libswap.linux.files import refusal
from libswap.live.draining.handles import (
    MOST_ARGUMENTS,
    RESULT,
    Anchor,
    Description,
    Place,
    Rule,
    When,
)
from libswap.live.draining.soundness import baseless, faults

FORMAT: Final = 1
SHIPPED: Final = Path(__file__).parents[2] / "handles"
SITE: Final = Path("/etc/libswap/handles")
_LARGEST: Final = 1 << 18
_MOST_DOTS: Final = 200
"""In a line: tomllib takes memory by the square of a dotted key's parts."""
_MOST_FILES: Final = 512
_MOST_NAMES: Final = 4096
_MOST_OFFSETS: Final = 3
_LARGEST_OFFSET: Final = 1 << 15
_MOST_STACK: Final = 32
_NAME: Final = re.compile(r"(?!.*\*.*\*)[A-Za-z_$.*][A-Za-z0-9_$.*]{0,254}")
_SYMBOL: Final = re.compile(r"[A-Za-z_$.][A-Za-z0-9_$.]{0,254}")
_SONAME: Final = re.compile(r"[A-Za-z0-9_+.-]{1,255}")
_PLACE: Final = re.compile(r"(?:arg([1-9][0-9]?)|(result))((?:\[[0-9]{1,5}\])*)")
_CONDITION: Final = re.compile(r"arg([1-6]) = ([0-9]{1,10})")
_TOP: Final = frozenset({"format", "libraries", "fresh", "risk", "pointers", "linked", "anchor",
                         "hidden", "unfit", "together", "private", "values", "tells",
                         "plain", "rule"})  # fmt: skip
_OF_ANCHOR: Final = frozenset({"tables", "at", "count"})
_MOST_ANCHORS: Final = 8
_MOST_TOGETHER: Final = 64
_OF_RULE: Final = frozenset({"functions", "by", "gives", "borrowed", "lent", "parts", "ends",
                             "counted", "when", "stack", "doubled", "failure", "only",
                             "undone"})  # fmt: skip


def description_for(sonames: Sequence[str], files: Sequence[Path] = ()) -> Description:
    """The description of a library: from these files, the site's, then the shipped ones.

    Raises:
        HandlesInvalid: one that is read on the way cannot be understood.
        HandlesUnknown: none is for that library.
        SystemRefused: a file that was named cannot be read.
    """
    for description in (*map(read, files), *descriptions()):
        if not set(sonames).isdisjoint(description.libraries):
            return description
    raise HandlesUnknown(next(iter(sonames), ""))


def descriptions(places: Iterable[Path] = (SITE, SHIPPED)) -> Iterator[Description]:
    """Every description that is there, those of the site first.

    Raises:
        HandlesInvalid: one cannot be understood.
    """
    for place in places:
        for file in sorted(place.glob("*.toml"))[:_MOST_FILES]:
            yield read(file)


def read(file: Path) -> Description:
    """One file.

    Raises:
        HandlesInvalid: it cannot be understood.
        SystemRefused: it cannot be read.
    """
    with refusal("read", str(file)), open(file, "rb", opener=_without_waiting) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise HandlesInvalid(str(file), "it is no regular file")
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise HandlesInvalid(str(file), f"it has more than {_LARGEST} bytes")
    try:
        return _description(file.stem, _parsed(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise HandlesInvalid(str(file), str(error) or "it is nested too deeply") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)  # nor for whoever writes to a FIFO


def _parsed(text: str) -> dict[str, Any]:
    if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
        raise ValueError(f"a line has more than {_MOST_DOTS} dots")
    return tomllib.loads(text)


def _description(name: str, data: Mapping[str, Any]) -> Description:
    _known(data, _TOP, "the file")
    if data.get("format") != FORMAT or isinstance(data["format"], bool):
        raise ValueError(f"format must be {FORMAT}")
    libraries = _strings(data, "libraries", _SONAME)
    if not libraries:
        raise ValueError("libraries must name at least one soname")
    rules = tuple(_rules(data))
    if len(rules) > _MOST_NAMES:
        raise ValueError(f"more than {_MOST_NAMES} functions")
    names = [pattern for pattern, _ in rules]
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ValueError(f"{twice[0]} stands in it twice")
    code = data.get("pointers") == "code"
    values = _flag(data, "values")
    if values and any(rule.by or rule.gives for _, rule in rules):
        raise ValueError("values are no objects, so that no rule has by or gives")
    description = Description(
        name, libraries, rules, _flag(data, "fresh"), _text(data, "risk"),
        code or _flag(data, "pointers"), tuple(_linked(data)), tuple(_anchors(data)),
        _strings(data, "hidden", _NAME),
        _strings(data, "unfit", _NAME), tuple(_together(data)), code, values, _tells(data),
    )  # fmt: skip
    for why in baseless(description):
        raise ValueError(why)
    return description


def _rules(data: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    for name in _strings(data, "plain", _NAME):
        yield name, Rule()
    for name in _strings(data, "private", _NAME):
        yield name, Rule(private=True)
    for row in _rows(data, "rule"):
        names = _strings(row, "functions", _NAME)
        if not names:
            raise ValueError("a rule without functions")
        rule = _rule(row, names[0])
        for name in names:
            yield name, rule


def _rule(row: Mapping[str, Any], where: str) -> Rule:
    _known(row, _OF_RULE, f"the rule of {where}")
    by = tuple(_places(row, "by", where))
    gives = tuple(_places(row, "gives", where))
    twice = None if isinstance(row.get("doubled"), bool) else _condition(row, "doubled", where)
    rule = Rule(
        by, gives, _flag(row, "ends"), _flag(row, "counted"), _when(row), _stack(row),
        borrowed=_flag(row, "borrowed"), lent=_flag(row, "lent"),
        doubled=twice is not None or _flag(row, "doubled"), failure=_failure(row),
        parts=tuple(_places(row, "parts", where)), only=_condition(row, "only", where), twice=twice,
        undone=_undone(row, where),
    )  # fmt: skip
    for wrong, why in faults(rule):
        if wrong:
            raise ValueError(f"{where}: {why}")
    return rule


def _places(row: Mapping[str, Any], key: str, where: str) -> Iterator[Place]:
    given = row.get(key, [])
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or len(texts) > MOST_ARGUMENTS:
        raise ValueError(f"{where}: {key} must be a place or a list of them")
    for text in texts:
        found = _PLACE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"{where}: {text!r} is no place such as arg1, arg2[0] or result")
        argument = RESULT if found[2] else int(found[1])
        offsets = tuple(int(n) for n in re.findall(r"[0-9]+", found[3]))
        if argument > MOST_ARGUMENTS:
            raise ValueError(f"{where}: only the first {MOST_ARGUMENTS} arguments can be handles")
        if len(offsets) > _MOST_OFFSETS or any(o > _LARGEST_OFFSET for o in offsets):
            raise ValueError(f"{where}: {text} follows too many pointers, or too far")
        yield Place(argument, offsets)


def _tells(data: Mapping[str, Any]) -> int | None:
    given = data.get("tells")
    if given is not None and (type(given) is not int or not 0 <= given <= _LARGEST_OFFSET):
        raise ValueError("tells must be an offset in every object")
    return given


def _linked(data: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    rows = data.get("linked", [])
    if not isinstance(rows, list) or len(rows) > 8:
        raise ValueError("linked must be a list of pairs")
    for row in rows:
        fits = isinstance(row, list) and len(row) == 2
        if not fits or any(type(n) is not int or not 0 <= n <= _LARGEST_OFFSET for n in row):
            raise ValueError("linked must be pairs of offsets: [[holds, points back]]")
        yield row[0], row[1]


def _together(data: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    rows = data.get("together", [])
    if not isinstance(rows, list) or len(rows) > _MOST_TOGETHER:
        raise ValueError("together must be a list of lists of names")
    for row in rows:
        names = _strings({"together": row}, "together", _NAME)
        if len(names) < 2:
            raise ValueError("together must be lists of at least two names")
        yield names


def _anchors(data: Mapping[str, Any]) -> Iterator[Anchor]:
    rows = _rows(data, "anchor")
    if len(rows) > _MOST_ANCHORS:
        raise ValueError(f"more than {_MOST_ANCHORS} kinds of anchors")
    for row in rows:
        _known(row, _OF_ANCHOR, "an anchor")
        tables = _strings(row, "tables", _NAME)
        at, count = _text(row, "at"), _text(row, "count")
        if not (tables and at and count):
            raise ValueError("an anchor has tables, at and count")
        yield Anchor(tables, at, count)


def _rows(data: Mapping[str, Any], key: str) -> list[Any]:
    rows = data.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{key} must be tables: [[{key}]]")
    return rows


def _known(data: Mapping[str, Any], keys: frozenset[str], where: str) -> None:
    unknown = sorted(set(data) - keys)
    if unknown:
        raise ValueError(f"{where} has a word that is not known: {unknown[0]}")


def _strings(data: Mapping[str, Any], key: str, form: re.Pattern[str]) -> tuple[str, ...]:
    given = data.get(key, [])
    if not isinstance(given, list) or len(given) > _MOST_NAMES:
        raise ValueError(f"{key} must be a list of names")
    for one in given:
        if not isinstance(one, str) or not form.fullmatch(one):
            raise ValueError(f"{key}: {one!r} is no name")
    return tuple(given)


def _flag(data: Mapping[str, Any], key: str) -> bool:
    given = data.get(key, False)
    if not isinstance(given, bool):
        raise ValueError(f"{key} must be true or false")  # noqa: TRY004  the file's fault
    return given


def _text(data: Mapping[str, Any], key: str) -> str:
    given = data.get(key, "")
    if not isinstance(given, str) or len(given) > 1000:
        raise ValueError(f"{key} must be a short text")
    return given


def _when(row: Mapping[str, Any]) -> When:
    given = row.get("when", When.ALWAYS.value)
    if given not in tuple(When):
        raise ValueError(f"when must be one of {', '.join(When)}")
    return When(given)


def _stack(row: Mapping[str, Any]) -> int:
    given = row.get("stack", 0)
    if type(given) is not int or not 0 <= given <= _MOST_STACK:
        raise ValueError(f"stack must be a number of words, at most {_MOST_STACK}")
    return given


def _failure(row: Mapping[str, Any]) -> int | None:
    given = row.get("failure")
    if given is None:
        return None
    if type(given) is not int or not -(1 << 31) <= given < 1 << 31:
        raise ValueError("failure must be a number of 32 bits")
    return given


def _undone(row: Mapping[str, Any], where: str) -> str:
    given = row.get("undone", "")
    if not isinstance(given, str) or (given and not _SYMBOL.fullmatch(given)):
        raise ValueError(f"{where}: undone must be the name of a function")
    return given


def _condition(row: Mapping[str, Any], key: str, where: str) -> tuple[int, int] | None:
    given = row.get(key)
    if given is None:
        return None
    found = _CONDITION.fullmatch(given) if isinstance(given, str) else None
    if found is None or int(found[2]) >> 31:
        raise ValueError(f"{where}: {key} must be like 'arg2 = 5120'")
    return int(found[1]), int(found[2])
