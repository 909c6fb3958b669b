"""Restart the systemd units that run an old library, through systemctl(1)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from libswap.errors.base import LibswapError
from libswap.linux import command
from libswap.scan.services import ServiceKind
from libswap.scan.use import User

_SECONDS: Final = 300.0
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\-]+\.service")
"""unit names, systemd.unit(5)"""


@dataclass(frozen=True, slots=True)
class Affected:
    """The users of a library, by what a restart can do for them.

    Attributes:
        units: that can be restarted.
        left: the others, each with the reason, in words.
    """

    units: tuple[str, ...]
    left: tuple[str, ...]


def affected(users: Iterable[User], own: str) -> Affected:
    """Sort the users of a library by unit.

    Args:
        users: the processes.
        own: the unit that we run in; it is never restarted by itself.
    """
    units: set[str] = set()
    left: dict[str, None] = {}
    for user in users:
        service = user.process.service
        who = f"{user.process.name} ({user.process.identity.pid})"
        is_unit = service.kind == ServiceKind.UNIT.value and _UNIT.fullmatch(service.name)
        if not is_unit:
            left[f"{who} belongs to {service.name or 'no service'}: restart it by hand"] = None
        elif service.name == own:
            left[f"{service.name} is the watcher itself: restart it by hand"] = None
        elif service.advice:
            left[f"{service.name} is not restarted by itself: {service.advice}"] = None
        else:
            units.add(service.name)
    return Affected(tuple(sorted(units)), tuple(left))


def restart(systemctl: str, units: Sequence[str]) -> str:
    """Restart units, all in one command, and wait for them; returns the complaint, "" for none."""
    if not units:
        return ""
    try:
        done = command.run([systemctl, "restart", "--", *units], timeout=_SECONDS)
    except LibswapError as error:
        return error.message
    return "" if done.status == 0 else f"systemctl restart: {done.complaint}"
