"""The typer application, made for one run with only the command that was asked for."""

import sys
from importlib import import_module
from typing import Final

import typer

from libswap.cli.session import Session
from libswap.errors import LibswapError, UsageError

# In the order in which --help shows them; each is the module libswap.cli.<name>.
COMMANDS: Final[tuple[str, ...]] = ("install", "rollback", "history", "recover", "prune", "demo")

# typer exports one of its click's usage errors; their common base is what a wrong word raises.
_WrongWords: Final[type[Exception]] = typer.BadParameter.__mro__[1]


def run(words: list[str]) -> int:
    """Run `libswap` with these words.

    Returns:
        The exit code; docs/reference/exit-codes.md says what each stands for.
    """
    session = Session.of(words)
    try:
        result = _application(words)(words, prog_name="libswap", obj=session, standalone_mode=False)
    except _WrongWords as error:
        session.reporter.error(_usage(error))
        return UsageError.exit_code
    except LibswapError as error:
        session.reporter.error(error)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return result if isinstance(result, int) else 0


def _application(words: list[str]) -> typer.Typer:
    """One command where the first word names it, all of them otherwise (help, completion)."""
    app = typer.Typer(
        name="libswap",
        help="Upgrade shared libraries on Linux without breaking the programs that use them.",
        no_args_is_help=True,
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
            app.command(name)(module.command)
    return app


def _root() -> None:
    """Upgrade shared libraries on Linux without breaking the programs that use them."""


def _usage(error: Exception) -> UsageError:
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return UsageError(
        problem=text, advice="libswap --help and libswap COMMAND --help list the words."
    )
