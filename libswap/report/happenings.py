"""What a watcher tells while it runs: as lines of JSON, to the journal, or on a terminal."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self, TextIO

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from libswap.linux import service_manager
from libswap.operations.deployments import Happening
from libswap.report.machine import plain
from libswap.report.text import printable

_ROWS: Final = 15
_MOST_WAITING: Final = 10
_WARNING, _INFO = "4", "6"  # syslog(3)
_ENDS: Final = {"deployed": "green", "rejected": "yellow", "failed": "red"}


def to_lines(stream: Callable[[], TextIO]) -> Callable[[Happening], None]:
    """Each as one line of JSON, at once."""

    def tell(happening: Happening) -> None:
        out = stream()
        out.write(json.dumps(plain(happening)) + "\n")
        out.flush()

    return tell


def to_journal(happening: Happening) -> None:
    """Each as an entry of the journal, with what can be searched for as fields."""
    subject = ", ".join(happening.names) or happening.directory
    message = f"{happening.kind}: {subject}: {happening.text}".replace(": : ", ": ")
    fields = {
        "MESSAGE": printable(message),
        "PRIORITY": _WARNING if happening.trouble else _INFO,
        "SYSLOG_IDENTIFIER": "libswap-watch",
        "LIBSWAP_EVENT": happening.kind,
        "LIBSWAP_DIRECTORY": happening.directory,
        "LIBSWAP_FILES": "\n".join(happening.names),
        "LIBSWAP_DEPLOYMENT": happening.deployment,
        "LIBSWAP_OPERATION": happening.operation,
    }
    service_manager.journal({name: value for name, value in fields.items() if value})


class Screen:
    """A live view on a terminal; drawn anew when something happens, not in intervals."""

    def __init__(self) -> None:
        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        self._live = Live(console=console, auto_refresh=False)
        self._rows: deque[Happening] = deque(maxlen=_ROWS)
        self._waiting: Mapping[str, Sequence[str]] = {}

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def tell(self, happening: Happening) -> None:
        """Show what happened: a deployment keeps its row."""
        same = (r for r in self._rows if happening.deployment == r.deployment != "")
        if (before := next(same, None)) is not None:
            self._rows.remove(before)
        self._rows.append(happening)
        self._draw()

    def show_waiting(self, waiting: Mapping[str, Sequence[str]]) -> None:
        """Show what lies in the directories and is not done with."""
        if waiting != self._waiting:
            self._waiting = waiting
            self._draw()

    def _draw(self) -> None:
        self._live.update(Group(self._happened(), *self._lying()), refresh=True)

    def _happened(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("time", "what", "files", "more"):
            table.add_column(heading, overflow="fold")
        for one in self._rows:
            at = time.strftime("%H:%M:%S", time.localtime(one.time))
            what = Text(one.kind, _ENDS.get(one.kind, "yellow" if one.trouble else ""))
            names = printable(", ".join(one.names) or one.directory)
            table.add_row(at, what, names, printable(one.text))
        return table

    def _lying(self) -> list[Text]:
        found = []
        for directory, names in self._waiting.items():
            shown = ", ".join(names[:_MOST_WAITING])
            more = f" and {len(names) - _MOST_WAITING} more" if len(names) > _MOST_WAITING else ""
            found.append(Text(printable(f"{directory}: {len(names)} waiting {shown}{more}"), "dim"))
        return found
