"""The changes of an operation, for the views that show one."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.text import Text

from libswap.install.content import Content, File, Link, Nothing
from libswap.install.history import Operation, Outcome
from libswap.install.notices import Notice
from libswap.install.transaction import Change
from libswap.report.text import printable
from libswap.scan.usage import Usage

_MOST = 8
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def changes(found: Iterable[Change]) -> Iterator[RenderableType]:
    """A line for each name: what it stands for before and after."""
    for change in found:
        yield Text.assemble(
            "  ", (printable(change.path), "bold"), f": {content(change.before)} → ",
            content(change.after),
        )  # fmt: skip


def content(found: Content) -> str:
    """A content in a few words."""
    match found:
        case Nothing():
            return "nothing"
        case Link(text):
            return f"link to {printable(text)}"
        case File():
            build = f", build id {found.build_id[:12]}" if found.build_id else ""
            return f"{size(found.size)}, sha256 {found.sha256[:12]}{build}"


def size(count: int) -> str:
    """A number of bytes as people write it."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def notices(found: Iterable[Notice]) -> Iterator[RenderableType]:
    """What one should know, each with what to do about it below."""
    for notice in found:
        yield Text.assemble(("  ! ", "yellow"), printable(f"{notice.path} {notice.text}"))
        if notice.advice:
            yield Text(f"    {printable(notice.advice)}", "dim")


def usage(found: Usage) -> Iterator[RenderableType]:
    """Who runs on the old, service by service, and what would move it to the new."""
    if found.users:
        yield Text("In use by, and what is in use stays so until they are restarted:")
    services = sorted({user.process.service for user in found.users})
    for service in services:
        processes = [u.process for u in found.users if u.process.service == service]
        who = ", ".join(f"{p.identity.pid} {p.name}" for p in processes[:_MOST])
        more = f" and {len(processes) - _MOST} more" if len(processes) > _MOST else ""
        yield Text(printable(f"  {service.name or 'no service'}: {who}{more}"))
        advice = " # ".join(filter(None, (service.restart, service.advice)))
        yield Text(f"    {printable(advice)}", "dim")
    if found.uninspected:
        missed = ", ".join(f"{u.pid} {u.command}" for u in found.uninspected[:_MOST])
        more = " and more" if len(found.uninspected) > _MOST else ""
        yield Text(printable(f"  Could not be looked into: {missed}{more}"), "yellow")


def ending(operation: Operation) -> Iterator[RenderableType]:
    """How an operation ended."""
    done = operation.outcome is Outcome.DONE
    how = ("done", "green") if done else ("undone, everything is as it was", "yellow")
    yield Text.assemble(f"Operation {operation.transaction.id}: ", how)
    for remark in operation.remarks:
        yield Text.assemble(("  ! ", "yellow"), printable(remark))
