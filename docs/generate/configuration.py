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
| `XDG_RUNTIME_DIR` | below it lie an ordinary user's locks of directories, if absolute |
| `NO_COLOR`, `FORCE_COLOR`, `TTY_COMPATIBLE`, `TERM`, `COLUMNS` | how the output looks |
| `LIBSWAP_PID` | set for the command of `live --check`: the process that was moved |
| `LIBSWAP_PATHS` | set for the health command of `watch`: the paths that were changed, one a line |
| `SUDO_USER`, `DOAS_USER` | written into the history as the person behind root |
| `SUDO_UID` | whose own files root may install, as those of the person who typed |
| `PATH`, `ANSIBLE_COLLECTIONS_PATH`, `ANSIBLE_SSH_ARGS` | handed on to Ansible by `fleet` |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID` | by them systemd hears from the service |
| `JOURNAL_STREAM` | set by systemd where the service's output goes to the journal |
| `LIBSWAP`, `LIBSWAP_METRICS` | read by [the hook of package managers](../how-to/monitor.md) |

## Files

| path | holds |
|---|---|
| `/var/lib/libswap` (root), `~/.local/state/libswap` | all down to `fleet/`; for its owner alone |
| `journal` | the operation that is being done; `libswap recover` ends it |
| `history` | all operations that came to an end |
| `store/` | kept old files, for rollbacks |
| `lock` | which libswap is at work; nobody has it when no process holds it |
| `live/` | a copy of the record that each changed process carries |
| `survival/` | what comparisons of machine code came to; can be deleted at any time |
| `watch/` | what `libswap watch` has under way, staged and done |
| `fleet/` | of `libswap fleet`: how far each upgrade has come on each machine |
| `/run/libswap/locks`, `$XDG_RUNTIME_DIR/libswap/locks` | locks of directories, while they change |
| `/etc/libswap/handles/*.toml` | [descriptions](handles.md) of this machine, asked first |
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
