"""What can be set, and by which word: the limits and places of `libswap.settings`."""

import dataclasses
import inspect
from pathlib import Path

from docs.generate.api import entries
from libswap.settings import Settings

OPTIONS = {
    "state_dir": "`--state-dir DIR`",
    "lock_wait": "`--wait SECONDS`",
    "store_max_files": "`libswap prune --max-files N`",
    "store_max_bytes": "`libswap prune --max-bytes N`",
}
HEAD = """\
# Configuration

libswap reads no configuration file of its own; only the service that watches drop directories has
one ([its fields](watch-configuration.md)). Everything else is said by options, or by a
`libswap.Settings` in Python. Made from the program by `make docs`.

## Settings

| setting | default | option | meaning |
|---|---|---|---|
"""
TAIL = """
A setting without an option can be set in Python only.

## Environment

| variable | meaning |
|---|---|
| `XDG_STATE_HOME` | where an ordinary user's state lies, if absolute; else `~/.local/state` |
| `NO_COLOR`, `TERM`, `COLUMNS` | how the output looks on a terminal |
| `LIBSWAP_PID` | set for the command of `--check`: the process that was moved |
| `SUDO_USER`, `DOAS_USER` | written into the history as the person behind root |
| `LIBSWAP`, `LIBSWAP_METRICS` | read by [the hook of package managers](../how-to/monitor.md) |

## Files

| path | holds |
|---|---|
| `/var/lib/libswap` (root), `~/.local/state/libswap` | all below; only its owner may write there |
| `journal` | the operation that is being done; `libswap recover` ends it |
| `history` | all operations that came to an end |
| `store/` | kept old files, for rollbacks |
| `live/` | a copy of the record that each changed process carries |
"""


def configuration() -> str:
    """The whole page."""
    said = entries(inspect.getdoc(Settings) or "")
    rows = [
        (f"`{field.name}`", _default(field), OPTIONS.get(field.name, ""), said[field.name])
        for field in dataclasses.fields(Settings)
    ]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + TAIL


def _default(field: "dataclasses.Field[object]") -> str:
    if isinstance(field.default, int | float):
        return f"{field.default:,}"
    assert field.default_factory is not dataclasses.MISSING
    return f"`{Path('/var/lib/libswap')}`, or the XDG state home"
