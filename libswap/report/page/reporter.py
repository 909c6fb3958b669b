"""Shows results as another reporter does, and writes them as a page too."""

import os
import time
from importlib.resources import files
from pathlib import Path
from typing import Final

from libswap import __version__
from libswap.errors.base import LibswapError, MissingTool
from libswap.linux.publish import publish, require_publishable
from libswap.report.page.content import page_of, page_of_error, page_of_interruption
from libswap.report.page.model import Moment, Page
from libswap.report.page.palette import DARK, LIGHT, variables
from libswap.report.page.picture import MEANINGS, letter, pictures
from libswap.report.reporter import Reporter
from libswap.report.text import printable
from libswap.scan.use import User

try:
    import jinja2
except ImportError as error:
    raise MissingTool("jinja2", "write a page", "pip install 'libswap[html]'") from error

_MOST_MOMENTS: Final = 500


class PageReporter:
    """Another reporter with a page beside it."""

    def __init__(self, inner: Reporter, file: Path) -> None:
        """Make sure that the page can be written before anything is done.

        Args:
            inner: shows everything.
            file: where the page goes.

        Raises:
            SystemRefused: it cannot be written there.
        """
        require_publishable(str(file))
        self._inner, self._file = inner, str(file)
        self._users: tuple[User, ...] = ()
        self._began = time.time()
        self._moments: list[Moment] = []
        self._written = False
        self._happened("begun", time.strftime("%Y-%m-%d %H:%M:%S %Z"))

    def tell_apart(self, users: tuple[User, ...]) -> None:
        """Show who used the libraries before, where the result does not say."""
        self._users = users

    def show(self, view: str, result: object, *, exit_code: int = 0) -> None:
        """Show it, and write the page; where that fails, it has been shown all the same."""
        try:
            self._happened(f"ended with exit code {exit_code}")
            self._write(page_of(result, self._users))
        finally:
            self._inner.show(view, result, exit_code=exit_code)

    def refresh(self, view: str, result: object) -> None:
        """Show it in the place of the one before, on the page too."""
        try:
            self._write(page_of(result, self._users))
        finally:
            self._inner.refresh(view, result)

    def announce(self, view: str, plan: object) -> None:
        """Leave it to the other."""
        self._inner.announce(view, plan)

    def progress(self, text: str) -> None:
        """Remember it for the timeline."""
        self._happened(text)
        self._inner.progress(text)

    def note(self, text: str) -> None:
        """Remember it for the timeline."""
        self._happened(text)
        self._inner.note(text)

    def error(self, error: LibswapError) -> None:
        """Leave it to the other."""
        self._inner.error(error)

    def confirm(self, question: str) -> bool:
        """Leave it to the other."""
        agreed = self._inner.confirm(question)
        self._happened("agreed to by a person" if agreed else "not agreed to")
        return agreed

    def stopped(self, error: LibswapError) -> None:
        """Write what stopped the work, where no result was written: an older page would lie."""
        self._end(page_of_error(error), f"stopped with exit code {error.exit_code}")

    def interrupted(self) -> None:
        """Write that somebody stopped the work, where no result was written."""
        self._end(page_of_interruption(), "interrupted")

    def _end(self, page: Page, text: str) -> None:
        if not self._written:
            self._happened(text)
            self._write(page)

    def _happened(self, text: str, at: str = "") -> None:
        if len(self._moments) < _MOST_MOMENTS:
            at = at or f"+{time.time() - self._began:.3f} s"
            self._moments.append(Moment(at, printable(text)))

    def _write(self, page: Page) -> None:
        text = render(page, tuple(self._moments), self._began)
        publish(self._file, text.encode("utf-8", "backslashreplace"))
        self._written = True


def render(page: Page, moments: tuple[Moment, ...], now: float) -> str:
    """The page as HTML.

    Args:
        page: what it shows.
        moments: what was done, in order.
        now: when that began, in seconds since the epoch.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = {mark for b in page.blocks for row in b.rows for mark in (*row.before, *row.after)}
    template = (files("libswap.report.page") / "page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        page=page,
        moments=moments,
        pictures=pictures(page),
        legend=[(letter(n), library) for n, library in enumerate(page.libraries)],
        meanings={mark.value: text for mark, text in MEANINGS.items() if mark in shown},
        light=variables(LIGHT),
        dark=variables(DARK),
        host=printable(os.uname().nodename),
        when=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)),
        version=__version__,
    )
