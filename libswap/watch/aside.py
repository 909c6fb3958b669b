"""Where files go when their deployment has ended: DROPDIR/deployed, or DROPDIR/rejected."""

import time
from collections.abc import Sequence

from libswap.errors.base import SystemRefused
from libswap.linux.files import Directory
from libswap.operations.deployments import Deployment, Ended, Outcome
from libswap.watch.dropdir import DropDirectory


def names(box: DropDirectory, deployment: Deployment, outcome: Outcome) -> tuple[str, ...]:
    """The names that the files of a deployment will have there, none of them taken."""
    into, chosen = _place(box, outcome), list[str]()
    for drop in deployment.drops:
        chosen.append(box.free_name(into, drop.name, frozenset(chosen)))
    return tuple(chosen)


def put(box: DropDirectory, ended: Ended, names: Sequence[str]) -> list[str]:
    """Move them there, and write why they were rejected; can be repeated.

    Returns:
        what could not be moved away: immutable, say, or a mount point.
    """
    into, stuck = _place(box, ended.outcome), []
    for drop, name in zip(ended.deployment.drops, names, strict=True):
        try:
            moved = box.set_aside(drop, into, name)
            if moved is not None and into is box.rejected:
                box.write_reason(moved, _reason(ended))
        except SystemRefused as error:
            stuck.append(f"it stays in the drop directory: {error.message}")
    into.sync()
    return stuck


def _place(box: DropDirectory, outcome: Outcome) -> Directory:
    return box.deployed if outcome is Outcome.DEPLOYED else box.rejected


def _reason(ended: Ended) -> str:
    lines = [
        f"{ended.outcome.value}: {ended.reason}",
        f"deployment: {ended.deployment.id}",
        f"time: {time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(ended.ended))}",
    ]
    if ended.operation:
        lines.append(f"installed as operation {ended.operation}")
        how = f"operation {ended.rollback}" if ended.rollback else "NOT: see below"
        lines.append(f"rolled back as {how}")
    return "\n".join([*lines, *(f"remark: {remark}" for remark in ended.remarks)]) + "\n"
