"""The functions and results of `import libswap`, as Markdown from their docstrings."""

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import libswap
from libswap.errors.base import LibswapError

HEAD = """\
# Python interface

```python
import libswap

for group in libswap.scan_machine().groups:
    print(group.service.name, group.service.restart)
```

Every operation is a typed function that returns a frozen dataclass, prints nothing, and raises a
`libswap.LibswapError` (`message`, `hint`, `exit_code`) for what the world does; the classes are in
the [table of exit codes](exit-codes.md). What changes files plans first, and refuses with
`NotConfirmed` where a person would be asked, unless `yes=True`. Fields of results are those of the
[JSON documents](json-schema.json). Importing `libswap` costs nothing: each name is loaded when it
is first used. Public is what this page has, and `libswap.errors`; other modules may change with any
release.

Three programs to start from are at [the end of this page](#example-programs).

Made from the program by `make docs`.
"""
EXAMPLES = Path(__file__).parents[2] / "examples"
SECTION = re.compile(r"^(Args|Returns|Raises|Attributes):$", re.MULTILINE)


def api() -> str:
    """The whole page."""
    public = {name: getattr(libswap, name) for name in libswap.__all__}
    functions = {n: f for n, f in public.items() if inspect.isfunction(f)}
    results = {n: c for n, c in public.items() if isinstance(c, type)}
    assert len(functions) + len(results) == len(public)
    names = {f"{kind.__module__}.{kind.__qualname__}": name for name, kind in results.items()}
    parts = [HEAD, "## Functions\n"]
    parts += [_function(name, one, names) for name, one in functions.items()]
    parts += ["## Arguments and results\n"]
    parts += [_class(name, kind, names) for name, kind in results.items()]
    parts += ["## Example programs\n"]
    parts += [f"```python\n{file.read_text()}```\n" for file in sorted(EXAMPLES.glob("*.py"))]
    return "\n".join(parts)


def _function(name: str, function: typing.Any, names: dict[str, str]) -> str:
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function)
    lines = [f"def {name}("]
    star = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            lines.append("    *,")
            star = True
        kind = _type(hints[parameter.name], names)
        lines.append(f"    {parameter.name}: {kind}{_default(parameter)},")
    lines.append(f") -> {_type(hints['return'], names)}")
    return f"### {name}\n\n```python\n" + "\n".join(lines) + f"\n```\n\n{_text(function)}\n"


def _class(name: str, kind: typing.Any, names: dict[str, str]) -> str:
    if issubclass(kind, enum.Enum):
        body = "\n".join(f"- `{member.name}`: {member.value!r}" for member in kind)
    elif dataclasses.is_dataclass(kind) and not issubclass(kind, LibswapError):
        body = "\n".join(_fields(kind, names))
    else:
        body = "- `message: str`\n- `hint: str`\n- `exit_code: int`"
    summary = SECTION.split(inspect.getdoc(kind) or "")[0].strip()
    return f"### {name}\n\n{summary}\n\n{body}\n"


def _fields(kind: typing.Any, names: dict[str, str]) -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    said = entries(inspect.getdoc(kind) or "")
    for field in dataclasses.fields(kind):
        meaning = f": {said[field.name]}" if field.name in said else ""
        yield f"- `{field.name}: {_type(hints[field.name], names)}`{meaning}"
    for name, value in vars(kind).items():
        if isinstance(value, property) and not name.startswith("_"):
            yield f"- `{name}`, computed: {(value.__doc__ or '').splitlines()[0]}"


def _text(function: object) -> str:
    """A docstring with its sections as lists."""
    pieces = SECTION.split(inspect.getdoc(function) or "")
    lines = [pieces[0].strip(), ""]
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        listed = entries(f"{title}:\n{body}") if title != "Returns" else {}
        lines += [f"**{title}**", ""]
        lines += [f"- `{name}`: {text}" for name, text in listed.items()]
        lines += [" ".join(body.split())] if not listed else []
        lines += [""]
    return "\n".join(lines).strip() + "\n"


def entries(text: str) -> dict[str, str]:
    """The entries of the sections of a docstring: name, and what is said of it."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"    (\w+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
    return found


def _type(kind: object, names: dict[str, str]) -> str:
    """A type as it is written, public classes under their public names, others without module."""
    text = "None" if kind is type(None) else inspect.formatannotation(kind)
    for path in sorted(names, key=len, reverse=True):
        text = text.replace(path, names[path])
    return re.sub(r"\b(?:[a-z_0-9]+\.)+([A-Za-z])", r"\1", text)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    if callable(parameter.default):
        return " = ..."
    if isinstance(parameter.default, enum.Enum):
        return f" = {type(parameter.default).__name__}.{parameter.default.name}"
    if isinstance(parameter.default, libswap.Allowance):
        return " = Allowance()"
    return f" = {parameter.default!r}"
