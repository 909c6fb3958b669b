"""A manual page for libswap and one for each command, from the program itself."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from docs.generate.commands import argument
from libswap import __version__
from libswap.cli.app import COMMANDS, application

ROOT = Path(__file__).parents[2]
CHANGED = "2026-11-21"
"""When the words of the program last changed; a date of the build would differ in each."""

DESCRIPTION = """\
libswap replaces shared libraries on a machine that is in use, and moves running processes onto the
new ones without a restart.
It says beforehand who is affected, and what it does can be taken back."""
FILES = r"""
.SH FILES
.TP
.I /var/lib/libswap
Root's journal, history and kept files; of others below
.IR $XDG_STATE_HOME/libswap ,
by default
.IR ~/.local/state/libswap .
.SH ENVIRONMENT
.TP
.B NO_COLOR
No colours, whatever its value.
.TP
.B COLUMNS
How wide the output may be.
.TP
.B XDG_STATE_HOME
See above; taken only where it is absolute, and never for root.
"""


def manual() -> dict[str, str]:
    """Every page by its file name."""
    root = typer.main.get_command(application([]))
    leaves = [leaf for name in COMMANDS for leaf in _leaves(("libswap", name), root.commands[name])]
    pages = {"libswap.1": _overview(leaves)}
    for path, command in leaves:
        pages[f"{'-'.join(path)}.1"] = _page(path, command)
    return pages


def _leaves(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from _leaves((*path, name), child)


def _overview(leaves: list[tuple[tuple[str, ...], Any]]) -> str:
    lines = [*_head("libswap", "upgrade shared libraries without breaking running programs")]
    lines += [".SH SYNOPSIS", ".B libswap", r"\fICOMMAND\fR [\fIOPTION\fR...] [\fIWORD\fR...]"]
    lines += [".SH DESCRIPTION", DESCRIPTION, ".SH COMMANDS"]
    for path, command in leaves:
        lines += [".TP", rf"\fB{'-'.join(path)}\fR(1)", _text(_summary(command))]
    lines += [*_statuses(), FILES.strip()]
    return "\n".join(lines) + "\n"


def _page(path: tuple[str, ...], command: Any) -> str:
    summary, _, rest = inspect.cleandoc(command.help or "").partition("\n")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    words = " ".join(rf"\fI{_text(argument(p))}\fR" for p in arguments)
    lines = [*_head("-".join(path), summary.rstrip("."))]
    lines += [".SH SYNOPSIS", rf"\fB{' '.join(path)}\fR [\fIOPTION\fR...] {words}".rstrip()]
    lines += [".SH DESCRIPTION", _text(summary)]
    for paragraph in re.split(r"\n\s*\n", rest.strip()):
        lines += [".PP", _text(" ".join(paragraph.split()))] if paragraph else []
    lines += [".SH OPTIONS"]
    for parameter in [*arguments, *options]:
        lines += [".TP", _words(parameter), _text(" ".join((parameter.help or "").split()))]
    lines += [".SH EXIT STATUS", "0 where it was done.", "All others are listed in"]
    lines += [".BR libswap (1)."]
    lines += [".SH SEE ALSO", ".BR libswap (1)"]
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str) -> Iterator[str]:
    yield rf'.TH {name.upper()} 1 "{CHANGED}" "libswap {__version__}" "libswap"'
    yield from (".SH NAME", rf"{_text(name)} \- {_text(summary[:1].lower() + summary[1:])}")


def _words(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return rf"\fI{_text(argument(parameter))}\fR"
    names = ", ".join(rf"\fB{_text(n)}\fR" for n in [*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    metavar = (parameter.metavar or parameter.name).upper().replace("_", "-")
    return rf"{names} \fI{_text(metavar)}\fR"


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.help or "").partition("\n")[0]


def _statuses() -> Iterator[str]:
    """The table of docs/reference/exit-codes.md."""
    yield ".SH EXIT STATUS"
    text = (ROOT / "docs/reference/exit-codes.md").read_text()
    for code, meaning in re.findall(r"^\| ([0-9]+) \| (.+?) \|", text, re.MULTILINE):
        yield from (".TP", f".B {code}", _text(meaning.replace("`", "")))


def _text(plain: str) -> str:
    """Text of a page: backslash, hyphen and a leading dot have a meaning (groff_man_style(7))."""
    escaped = plain.replace("\\", r"\e").replace("-", r"\-").replace("–", r"\(en")
    for letter, name in (("…", r"\&..."), ("→", r"\(->"), ("×", r"\(mu"), ("'", r"\(aq")):
        escaped = escaped.replace(letter, name)
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
