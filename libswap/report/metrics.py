"""A scan as metrics, in the text format that Prometheus and its node exporter read."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from libswap import __version__
from libswap.report.text import printable
from libswap.scan.scanner import Scan
from libswap.scan.stale import Deleted, Overwritten, Replaced, Superseded
from libswap.scan.use import Use, User

_MOST: Final = 1000
"""Series of one family: file names belong to strangers, who could fill a database with them."""


class Labels(NamedTuple):
    """What tells the series of one family apart."""

    library: str
    unit: str
    kind: str


@dataclass(slots=True)
class _Stale:
    """The processes of one unit that run one replaced file."""

    pids: set[int] = field(default_factory=set)
    since: float | None = None

    def add(self, user: User, use: Use) -> None:
        self.pids.add(user.process.identity.pid)
        match use.state:
            case Deleted(since) | Replaced(since) | Superseded(since) | Overwritten(since):
                known = [when for when in (self.since, since) if when is not None]
                self.since = min(known, default=None)


def prometheus(scan: Scan, now: float) -> str:
    """The whole file.

    Args:
        scan: of the whole machine.
        now: seconds since the epoch.
    """
    found = _by_labels(scan)
    shown = dict(sorted(found.items(), key=lambda item: (-len(item[1].pids), item[0]))[:_MOST])
    users = [user for group in scan.groups for user in group.users]
    single = {
        "stale_processes": ("Processes that run a replaced library.", len(users)),
        "overwritten_processes": (
            "Processes whose library was overwritten in place; they can die of it.",
            sum(any(isinstance(use.state, Overwritten) for use in user.uses) for user in users),
        ),
        "stale_units": ("Services with such processes.", len(scan.groups)),
        "moved_processes": (
            "Processes moved live onto what is on disk: no longer stale.",
            len(scan.moved),
        ),
        "undecided_processes": ("Processes of which it could not be told.", len(scan.undecided)),
        "uninspected_processes": ("Processes not looked at.", len(scan.uninspected)),
        "scanned_processes": ("Processes that were looked at.", scan.processes),
        "left_out_series": ("Pairs of library and unit not shown.", len(found) - len(shown)),
        "scan_timestamp_seconds": ("When the scan was made.", round(now, 3)),
    }
    return "".join((*_families(shown), *_singles(single)))


def _by_labels(scan: Scan) -> Mapping[Labels, _Stale]:
    """Two names that look the same when they are made printable are one series."""
    found: dict[Labels, _Stale] = defaultdict(_Stale)
    for group in scan.groups:
        unit, kind = _text(group.service.name), _text(group.service.kind)
        for user in group.users:
            for use in user.uses:
                if use.stale:
                    found[Labels(_text(use.path), unit, kind)].add(user, use)
    return found


def _families(found: Mapping[Labels, _Stale]) -> Iterator[str]:
    yield from _head("library_stale_processes", "Processes that run a replaced file.")
    for labels, stale in found.items():
        yield f"libswap_library_stale_processes{_braces(labels)} {len(stale.pids)}\n"
    yield from _head("library_stale_since_timestamp_seconds", "Since when, where that is known.")
    for labels, stale in found.items():
        if stale.since is not None:
            name = "libswap_library_stale_since_timestamp_seconds"
            yield f"{name}{_braces(labels)} {stale.since:.3f}\n"
    yield from _head("build_info", "Which libswap wrote this.")
    yield f'libswap_build_info{{version="{__version__}"}} 1\n'


def _singles(values: Mapping[str, tuple[str, float]]) -> Iterator[str]:
    for name, (meaning, value) in values.items():
        yield from _head(name, meaning)
        yield f"libswap_{name} {value}\n"


def _head(name: str, meaning: str) -> Iterator[str]:
    yield f"# HELP libswap_{name} {meaning}\n# TYPE libswap_{name} gauge\n"


def _braces(labels: Labels) -> str:
    pairs = (f'{name}="{value}"' for name, value in labels._asdict().items())
    return f"{{{','.join(pairs)}}}"


def _text(foreign: str) -> str:
    """A label's value: one line, with backslash and quote escaped (exposition format 0.0.4)."""
    return printable(foreign).replace("\\", "\\\\").replace('"', '\\"')
