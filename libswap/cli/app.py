"""The typer application, made for one run with only the command that was asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Final

import typer

from libswap import __version__
from libswap.cli.session import Session
from libswap.errors.base import UsageError

# In the order in which --help shows them; each is the module libswap.cli.<name>.
COMMANDS: Final[tuple[str, ...]] = (
    "check", "scan", "install", "live", "patch", "handles", "revert", "status", "rollback",
    "history", "recover", "prune", "watch", "fleet", "demo",
)  # fmt: skip

# typer exports one of its click's usage errors; their common base is what a wrong word raises.
_WrongWords: Final[type[Exception]] = typer.BadParameter.__mro__[1]


def run(words: list[str]) -> int:
    """Run `libswap` with these words; without any it shows what there is, as a usage error.

    Returns:
        The exit code; docs/reference/exit-codes.md says what each stands for.
    """
    session = Session.of(words)
    return session.answer(lambda: _run(words, session))


def _run(words: list[str], session: Session) -> int:
    app = application(words)
    try:
        result = app(words or ["--help"], prog_name="libswap", obj=session, standalone_mode=False)
    except _WrongWords as error:
        raise _usage(error) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    if not words:
        return UsageError.exit_code
    return result if isinstance(result, int) else 0


def application(words: list[str]) -> typer.Typer:
    """One command where the first word names it, all of them otherwise (help, completion)."""
    app = typer.Typer(
        name="libswap",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: sooner there, and readable at any width
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    wanted = [words[0]] if words and words[0] in COMMANDS else list(COMMANDS)
    for name in wanted:
        module = import_module(f"libswap.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name, short_help=_first_line(module.command))(module.command)
    return app


def _first_line(command: Callable[..., object]) -> str:
    """What the list of commands says of one, whole; a help text would be cut to the width."""
    return (command.__doc__ or "").partition("\n")[0]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"libswap {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Say which version."
        ),
    ] = False,
) -> None:
    """Upgrade shared libraries on Linux without breaking the programs that use them."""


def _usage(error: Exception) -> UsageError:
    """A wrong word, in our terms; the command that it was said to tells the right ones."""
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "libswap"
    return UsageError(problem=text, advice=f"See: {command} --help")
