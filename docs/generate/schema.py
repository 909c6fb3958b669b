"""JSON Schema of every document that --json prints, made from the result classes."""

import dataclasses
import enum
import json
import pkgutil
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from pathlib import PurePath
from typing import Any

from libswap.cli.app import COMMANDS
from libswap.cli.session import GROUPS
from libswap.report import views
from libswap.report.machine import FORMAT

ERROR = {
    "type": "object",
    "properties": {
        "class": {"type": "string", "description": "see exit-codes.md"},
        "message": {"type": "string"},
        "hint": {"type": "string", "description": "what to do next; may be empty"},
        "fields": {"type": "object", "description": "what the message was made of"},
    },
    "required": ["class", "message", "hint", "fields"],
}

SIMPLE: dict[object, dict[str, object]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "pattern": "^([0-9a-f]{2})*$"},
    type(None): {"type": "null"},
    object: {},
}


def schema() -> str:
    """The whole file."""
    named = Definitions()
    results = {name: [named.of(kind) for kind in _results(name)] for name in COMMANDS}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What libswap COMMAND --json prints",
        "description": "Fields may be added; a raised format says that one was removed, renamed or"
        " changed its meaning.",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "libswap": {"type": "string", "description": "the version that printed it"},
            "command": {
                "type": "string",
                "description": "as it was said: scan, or patch apply of a group",
            },
            "exit_code": {"type": "integer", "description": "see exit-codes.md"},
            "result": {"type": ["object", "null"]},
            "error": {"anyOf": [{"$ref": "#/$defs/error"}, {"type": "null"}]},
        },
        "required": ["format", "libswap", "command", "exit_code", "result", "error"],
        "oneOf": [
            {"properties": {"result": {"type": "null"}, "error": {"type": "object"}}},
            {"properties": {"result": {"type": "object"}, "error": {"type": "null"}}},
        ],
        "allOf": [_where(name, kinds) for name, kinds in results.items()],
        "$defs": {"error": ERROR, **dict(sorted(named.made.items()))},
    }
    return json.dumps(document, indent=2) + "\n"


def _results(command: str) -> list[Any]:
    """What a command's views lay out, by the annotations of their `render`.

    They are libswap.report.views.<command>, or <command>_<word> for a group of commands.
    """
    names = [module.name for module in pkgutil.iter_modules(views.__path__)]
    wanted = [name for name in names if name == command or name.startswith(f"{command}_")]
    assert wanted, f"no view for libswap {command}"
    renders = [import_module(f"{views.__name__}.{name}").render for name in wanted]
    return [next(iter(typing.get_type_hints(render).values())) for render in renders]


def _where(command: str, results: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What a command returns; that of a group is named with it ("patch apply")."""
    name = {"pattern": f"^{command}( |$)"} if command in GROUPS else {"const": command}
    return {
        "if": {"properties": {"command": name}},
        "then": {"properties": {"result": {"anyOf": [*results, {"type": "null"}]}}},
    }


class Definitions:
    """What `libswap.report.machine.plain` makes of values of a type; named types stand aside.

    Attributes:
        made: the definition of each class met so far, by its name in the schema.
    """

    def __init__(self) -> None:
        self.made: dict[str, dict[str, object]] = {}
        self._names: dict[object, str] = {}

    def of(self, kind: Any) -> dict[str, object]:
        """The schema of one type."""
        if kind in SIMPLE:
            return SIMPLE[kind]
        if hasattr(kind, "__value__"):  # type Name = ...
            return self.of(kind.__value__)
        inner = typing.get_args(kind)
        match typing.get_origin(kind):
            case typing.Union | types.UnionType:
                return {"anyOf": [self.of(one) for one in inner]}
            case typing.Literal:
                return {"enum": list(inner)}
            case origin if _is(origin, Mapping):
                return {"type": "object", "additionalProperties": self.of(inner[1])}
            case origin if origin is tuple and inner[-1] is not ...:
                return {"type": "array", "prefixItems": [self.of(one) for one in inner]}
            case origin if _is(origin, Collection):
                return {"type": "array", "items": self.of(inner[0])}
        if _is(kind, PurePath):
            return {"type": "string"}
        if _is(kind, enum.Enum):
            return {"enum": [member.value for member in kind]}
        return {"$ref": f"#/$defs/{self._named(kind)}"}

    def _named(self, kind: Any) -> str:
        """The name of a dataclass's or named tuple's definition, made when it is first met."""
        if kind in self._names:
            return self._names[kind]
        name = kind.__name__
        if name in self.made:  # then with its package: live.Finding, or with all of its module
            package, _, module = kind.__module__.removeprefix("libswap.").partition(".")
            short = f"{package}.{name}"
            name = f"{package}.{module}.{name}" if short in self.made else short
        self._names[kind], self.made[name] = name, {}  # now: it may hold itself
        hints = typing.get_type_hints(kind)
        tagged = dataclasses.is_dataclass(kind)
        fields = [f.name for f in dataclasses.fields(kind)] if tagged else list(kind._fields)
        properties = {
            **({"kind": {"const": kind.__name__}} if tagged else {}),
            **{field: self.of(hints[field]) for field in fields},
        }
        self.made[name] = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
        }
        return name


def _is(kind: object, wanted: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, wanted)
