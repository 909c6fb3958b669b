"""Who uses what, and what to restart: one block for each service, readable in 60 columns too."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from libswap.report import words
from libswap.report.line import Line
from libswap.report.text import printable
from libswap.scan.census import Uninspected
from libswap.scan.loading import Data, Interpreter, Loading, Needed, Opened, Program, Unknown
from libswap.scan.owner import Process
from libswap.scan.scanner import Scan
from libswap.scan.services import Service
from libswap.scan.stale import (
    Deleted,
    Moved,
    Replaced,
    Superseded,
)
from libswap.scan.usage import Usage
from libswap.scan.use import Use, User

_SHOWN = 20
"""How many of a list that is not the point are shown; the rest is counted, --json has them all."""


def render(result: Scan | Usage) -> Iterable[Line]:
    """The services, what is in doubt, and what could not be looked at."""
    match result:
        case Scan():
            yield from _scan(result)
        case Usage():
            yield from _usage(result)
    yield from _uninspected(result.uninspected)


def _scan(found: Scan) -> Iterator[Line]:
    for group in found.groups:
        yield from _service(group.service, group.users, only_stale=True)
    if found.undecided:
        yield Line("Could not be told:", "yellow")
        yield from _users(found.undecided, only_stale=False)
    if found.same_build:
        pids = _numbers([user.process.identity.pid for user in found.same_build])
        yield Line(f"Replaced by the same build, no restart needed: {pids}", "dim")
    if found.moved:
        pids = _numbers([user.process.identity.pid for user in found.moved])
        yield Line(f"Moved onto what is on disk by libswap live, no restart needed: {pids}", "dim")
    stale = sum(len(group.users) for group in found.groups)
    if stale:
        said = (
            f"{words.count(stale)} of {found.processes} must be restarted to run what is on disk."
        )
        yield Line(said, "bold")
    else:
        yield Line(f"None of {words.count(found.processes)} runs a replaced library.", "green")
    if found.others_hidden:
        yield Line(
            "/proc is mounted with hidepid: other users' processes are not listed.", "yellow"
        )


def _usage(found: Usage) -> Iterator[Line]:
    users = sorted(found.users, key=lambda user: (user.process.service, user.process.identity))
    for service, members in groupby(users, lambda user: user.process.service):
        yield from _service(service, list(members), only_stale=False)
    for path in found.unused:
        yield Line(f"{printable(path)}: no process maps it.")
    yield Line(f"In use by {words.count(len(users))} of {found.processes}.", "bold")


def _service(service: Service, users: Sequence[User], *, only_stale: bool) -> Iterator[Line]:
    named = f"{printable(service.name)}  ({service.kind})" if service.name else "No known service"
    yield Line(named, "bold")
    if any(use.stale for user in users for use in user.uses):
        if service.restart:
            yield Line(f"  {printable(service.restart)}", "green")
        if service.advice:
            yield Line(f"  {printable(service.advice)}", "yellow")
    yield from _users(users, only_stale=only_stale)
    yield Line()


def _users(users: Sequence[User], *, only_stale: bool) -> Iterator[Line]:
    for user in users:
        yield _process(user.process)
    for lines, pids in _files(users, only_stale=only_stale):
        if len(pids) < len(users):
            lines = [*lines, Line(f"      in {_numbers(pids)}", "dim")]  # noqa: PLW2901
        yield from lines


def _process(process: Process) -> Line:
    command = printable(" ".join(process.command)) or f"[{printable(process.name)}]"
    line = f"  {process.identity.pid:>7} {printable(process.user):<8} {words.when(process.started)}"
    return Line(f"{line} {command}", cut=True)


def _files(users: Sequence[User], *, only_stale: bool) -> list[tuple[list[Line], list[int]]]:
    """Each different file once, with the processes that use it alike."""
    found: dict[tuple[str, ...], tuple[list[Line], list[int]]] = {}
    for user in users:
        for use in user.uses:
            if use.stale or not only_stale:
                lines = list(_use(use))
                key = tuple(line.text for line in lines)
                found.setdefault(key, (lines, []))[1].append(user.process.identity.pid)
    return list(found.values())


def _use(use: Use) -> Iterator[Line]:
    yield Line(f"    {printable(use.path)}", "cyan")
    yield Line(f"      {words.state(use.state)}", "red" if use.stale else "")
    if use.running_build_id != use.disk_build_id and not isinstance(use.state, Moved):
        on_disk = "" if isinstance(use.state, Deleted) else f", on disk {_build(use.disk_build_id)}"
        yield Line(f"      runs {_build(use.running_build_id)}{on_disk}")
    elif isinstance(use.state, Replaced | Superseded) and use.running_build_id:
        yield Line(f"      by the same build, {_build(use.running_build_id)}")
    yield Line(f"      {_loading(use.loaded)}", "dim")


def _loading(loaded: Loading) -> str:
    match loaded:
        case Needed(by):
            more = f" and {len(by) - 1} more" if len(by) > 1 else ""
            return f"needed by {printable(by[0])}{more}"
        case Opened():
            return "dlopened (or preloaded)"
        case Program():
            return "the program itself"
        case Interpreter():
            return "its dynamic linker"
        case Data():
            return "mapped as data"
        case Unknown(reason):
            return f"how it was loaded is unknown: {printable(reason)}"


def _build(build_id: str | None) -> str:
    return "a file without build id" if build_id is None else f"build {build_id[:12]}"


def _numbers(pids: Sequence[int]) -> str:
    more = f" and {len(pids) - _SHOWN} more" if len(pids) > _SHOWN else ""
    return ", ".join(map(str, pids[:_SHOWN])) + more


def _uninspected(missed: Sequence[Uninspected]) -> Iterator[Line]:
    if not missed:
        return
    advice = "" if os.geteuid() == 0 else "; run as root to look at all"
    yield Line(f"{words.count(len(missed))} could not be looked at{advice}:", "yellow")
    by_reason = sorted(missed, key=lambda one: (one.reason, one.pid))
    for reason, members in groupby(by_reason, lambda one: one.reason):
        names = [f"{one.pid} {printable(one.command)}" for one in members]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield Line(f"  {printable(reason)}: {', '.join(names[:_SHOWN])}{more}")
