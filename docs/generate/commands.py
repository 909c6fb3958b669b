"""Every command with its words, as Markdown."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from libswap.cli.app import COMMANDS, application

HEAD = """\
# Commands

Made from the program by `make docs`; `libswap COMMAND --help` says the same. Exit codes:
[exit-codes.md](exit-codes.md). What `--json` prints: [json-schema.json](json-schema.json).
"""


def commands() -> str:
    """The whole file."""
    root = typer.main.get_command(application([]))
    chapters = [HEAD]
    for name in COMMANDS:
        chapters.extend(_chapters(f"libswap {name}", root.commands[name]))
    return "\n".join(chapters)


def _chapters(path: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from _chapters(f"{path} {name}", child)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    words = " ".join(["[OPTIONS]", *(argument(p) for p in arguments)])
    yield f"## {path}\n\n`{path} {words}`\n\n{inspect.cleandoc(command.help or '')}\n"
    rows = [f"| {_cell(f'`{argument(p)}`')} | {_cell(p.help)} |" for p in arguments]
    rows += [f"| {_option(p)} | {_cell(p.help)} |" for p in options if p.opts != ["--help", "-h"]]
    yield "\n".join(["| word | meaning |", "|---|---|", *rows, ""])


def argument(parameter: Any) -> str:
    """How a word is written in a synopsis."""
    if parameter.metavar:
        return parameter.metavar
    name = parameter.name.upper() + ("" if parameter.nargs == 1 else "...")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    return f"{names} {(parameter.metavar or parameter.name).upper().replace('_', '-')}"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
