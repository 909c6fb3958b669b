"""What became of a drain, in words."""

import time
from collections import defaultdict
from typing import assert_never

from rich.text import Text

from libswap.live.draining.outlook import DrainOutlook
from libswap.live.draining.record import Then
from libswap.operations.draining import (
    DrainBegun,
    DrainPlanned,
    Left,
    Settled,
    StillDraining,
    TakenBack,
)
from libswap.report.findings import lines
from libswap.report.text import printable

_SHOWN = 8


def outcome(of: DrainPlanned | DrainBegun | StillDraining | Settled | TakenBack) -> Text:
    """One process's."""
    match of:
        case DrainPlanned(outlook=outlook):
            return _plan(outlook)
        case DrainBegun():
            return Text("draining", "green").append(
                f" since a stop of {of.stopped_for * 1000:.2f} ms (attempt {of.attempts}); id"
                f" {of.id}\n  old objects stay with the old copy; libswap status tells how many",
                "default",
            )
        case StillDraining(left=left, reason=reason):
            text = what_is_left(left)
            return text.append(f"\n  {printable(reason)}", "red") if reason else text
        case Settled():
            return Text("drained", "green").append(
                f": all calls go straight to the new copy, after a stop of"
                f" {of.stopped_for * 1000:.2f} ms", "default",
            )  # fmt: skip
        case TakenBack():
            return Text("taken back", "green").append(
                f": the old copy alone is in use, after a stop of {of.stopped_for * 1000:.2f} ms",
                "default",
            )
        case _:
            assert_never(of)


def what_is_left(left: Left) -> Text:
    """As far as it is known."""
    text = Text("being taken back" if left.back else "draining", "yellow")
    if left.back:
        text.append(f": {_objects(left.new, 'new')} left", "default")
        return text
    text.append(
        f": at least {_objects(left.seen + left.found, 'old')} left ({left.seen} seen in"
        f" {left.calls} calls, {left.found} found in memory), {left.new} new", "default",
    )  # fmt: skip
    for doubt in left.doubts:
        text.append(f"\n  {printable(doubt)}", "dim")
    if left.until:
        word = "its time was up at" if left.overdue else "its time is up at"
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(left.until))
        colour = "red" if left.overdue and left.then is not Then.KEEP else "dim"
        text.append(f"\n  {word} {when}; then: {left.then}", colour)
    return text


def _objects(count: int, which: str) -> str:
    return f"{count} {which} object{'' if count == 1 else 's'}"


def _plan(outlook: DrainOutlook) -> Text:
    text = Text(f"{len(outlook.entries)} functions, as {printable(outlook.description)} describes")
    by_kind: dict[str, list[str]] = defaultdict(list)
    for entry in outlook.entries:
        places = f" ({', '.join(entry.by)})" if entry.by and entry.kind != "unknown" else ""
        by_kind[entry.kind].append(f"{entry.name}{places}")
    for kind, names in sorted(by_kind.items()):
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        text.append(f"\n  {len(names)} {kind}: {printable(', '.join(names[:_SHOWN]))}{more}", "dim")
    for part in lines(outlook.findings):
        text.append(part)
    return text
