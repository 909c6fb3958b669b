"""`--html FILE`: the result as a page besides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from libswap.errors.base import LibswapError
from libswap.report.reporter import Reporter

if TYPE_CHECKING:
    from libswap.scan.use import User

Html: TypeAlias = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write the result as a page for a browser too."),
]


@contextmanager
def paged(
    reporter: Reporter, file: Path | None, libraries: "Callable[[], list[str]]" = list
) -> Iterator[Reporter]:
    """The reporter, with a page beside it where one is wished; what stops the work is on it too.

    Args:
        reporter: the session's.
        file: where the page goes; None for no page.
        libraries: those whose users the page tells apart, where the result does not.
    """
    if file is None:
        yield reporter
        return
    from libswap.report.page.reporter import PageReporter

    page = PageReporter(reporter, file)
    try:
        page.tell_apart(_users(libraries()))
        yield page
    except LibswapError as error:
        page.stopped(error)
        raise
    except KeyboardInterrupt:
        page.interrupted()
        raise


def _users(libraries: list[str]) -> "tuple[User, ...]":
    from libswap.scan.usage import users_of

    return users_of(libraries).users if libraries else ()
