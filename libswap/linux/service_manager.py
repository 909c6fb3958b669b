"""What systemd is told by its services: sd_notify(3), and the journal's native protocol.

Both are datagrams to a Unix socket; nothing is waited for, and where there is no socket nothing is
sent. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ has the format of the latter.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_JOURNAL: Final = "/run/systemd/journal/socket"


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager something, such as "READY=1"; returns whether it was told."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    address = f"\0{name[1:]}" if name.startswith("@") else name
    text = "\n".join(line.replace("\n", " ") for line in lines)
    return _send(text.encode("utf-8", "replace"), address)


def reloading() -> tuple[str, str]:
    """What is said before a configuration is read anew; "READY=1" follows."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often "WATCHDOG=1" is expected, sd_watchdog_enabled(3); None where it is not."""
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdecimal() or not int(text) or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1_000_000


def logs_to_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a descriptor is our connection to the journal (JOURNAL_STREAM of systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def journal(fields: Mapping[str, str], address: str = _JOURNAL) -> bool:
    """Write an entry with fields of our own; returns whether the journal took it."""
    return _send(b"".join(_field(name, value) for name, value in fields.items()), address)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "surrogateescape")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def _send(data: bytes, address: str) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, address)
        return True
    return False
