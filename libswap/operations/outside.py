"""Copies of the records of processes, kept in the state directory; those in the processes count."""

from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.linux.files import Directory
from libswap.live import facts
from libswap.live.subject import Subject
from libswap.process.identity import Identity, boot_time

_DIRECTORY: Final = "live"
_MOST_LOOKED_AT: Final = 100_000


def keep(state_dir: Path | None, subject: Subject) -> None:
    """Write the record of a process to PID-START-NAMESPACE.json, if that can be: it is a copy."""
    if state_dir is None or subject.place is None:
        return
    identity = subject.identity
    file = _directory(state_dir) / f"{identity.pid}-{identity.start_time}-{_namespace()}.json"
    with suppress(OSError, LibswapError):
        with Directory.make(str(state_dir), 0o700) as root:
            root.make_below(_DIRECTORY, 0o700)
        fresh = file.with_suffix(".new")
        fresh.write_text(facts.written(subject.place.record))
        fresh.replace(file)


def forget_ended(state_dir: Path | None) -> None:
    """Remove the copies of processes that have ended, and what a killed libswap half wrote.

    The directory may be shared with containers, whose processes we do not see by their PIDs, nor
    they ours: of those only what is older than this boot of the machine is known to be over.
    """
    if state_dir is None:
        return
    namespace, boot = _namespace(), boot_time()
    with suppress(OSError):
        for file in islice(_directory(state_dir).iterdir(), _MOST_LOOKED_AT):
            if not _may_live(file, namespace, boot):
                file.unlink(missing_ok=True)


def _directory(state_dir: Path) -> Path:
    return state_dir / _DIRECTORY


def _namespace() -> int:
    """The PID namespace that our PIDs are of."""
    return Path("/proc/self/ns/pid").stat().st_ino


def _may_live(file: Path, namespace: int, boot: float) -> bool:
    pid, _, rest = file.stem.partition("-")
    start, _, seen_in = rest.partition("-")
    if seen_in not in ("", str(namespace)):
        return file.lstat().st_mtime >= boot
    try:
        Identity(int(pid), int(start)).check()
    except (ValueError, ProcessGone):
        return False
    return True
