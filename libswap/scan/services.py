"""Which service a process belongs to, and what restarts it: systemd unit, container, init script.

Everything is read from cgroup paths and pid files of root; nothing of the process itself (its
environment, its files) is trusted, and nothing is executed.

Sources: cgroups(7); systemd.unit(5); systemd's CGROUP_DELEGATION; the cgroup paths that Docker,
Podman, CRI-O, containerd and LXC make.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class ServiceKind(Enum):
    """What a process can belong to."""

    UNIT = "systemd unit"
    USER_UNIT = "systemd user unit"
    SESSION = "login session"
    CONTAINER = "container"
    INIT = "init"
    SCRIPT = "init script"
    NONE = "no service"


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """What is to be restarted so that a process starts anew.

    Attributes:
        kind: what it is; a `ServiceKind` value.
        name: unit, session, container or script.
        restart: the line for a shell, foreign names quoted; "" where no line does it.
        advice: what to do or to know besides.
    """

    kind: str
    name: str
    restart: str
    advice: str = ""


_RUNTIME: Final = re.compile(
    r"(?:.*:)?(?:(docker|libpod|cri-containerd|crio|nerdctl)[-:])?([0-9a-f]{64})(?:\.scope)?"
)
_POD: Final = re.compile(
    r"(?:kubepods[a-z-]*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})"
)
_LXC: Final = re.compile(r"lxc\.payload\.(.+)")
_MANAGER: Final = re.compile(r"user@([0-9]+)\.service")
_SESSION: Final = re.compile(r"session-([0-9a-z]+)\.scope")
_MACHINE: Final = re.compile(r"machine-(.+)\.scope")
_ESCAPE: Final = re.compile(r"\\x([0-9a-f]{2})")

_HARD_TO_RESTART: Final[Mapping[str, str]] = {
    "dbus.service": "most of the machine talks through it; rather reboot",
    "dbus-broker.service": "most of the machine talks through it; rather reboot",
    "systemd-logind.service": "graphical sessions may end",
    "display-manager.service": "ends the graphical sessions",
    "gdm.service": "ends the graphical sessions",
    "gdm3.service": "ends the graphical sessions",
    "lightdm.service": "ends the graphical sessions",
    "sddm.service": "ends the graphical sessions",
}


def shell_line(words: Sequence[str]) -> str:
    """A command as one line of a POSIX shell, whatever is in its words."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """Quoted by shlex, or as $'...' where a control character must stay on one visible line."""
    if word.isprintable():
        return shlex.quote(word)
    plain = (
        chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in os.fsencode(word)
    )
    return f"$'{''.join(plain)}'"


def unit_path(cgroup: bytes) -> str:
    """The path of a process in the hierarchy of systemd, from its cgroup file; "" for none.

    Version 2 is the line "0::PATH"; version 1 the line whose controllers are "name=systemd". Where
    neither says anything, the deepest path of another controller is taken: container runtimes make
    one in each.
    """
    paths = {}
    for line in os.fsdecode(cgroup).split("\n"):
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon:
            paths[controllers] = path.removesuffix(" (deleted)")
    for controllers in ("name=systemd", ""):
        if paths.get(controllers, "/") != "/":
            return paths[controllers]
    others = [path for path in paths.values() if _container(path.split("/")) is not None]
    return max(others, key=len, default="")


def service_of_cgroup(cgroup: bytes, user_of: Callable[[int], str] = str) -> Service | None:
    """The service that a process's cgroup file names, or None.

    The parts of the path are read from the top: what is below a container, a user's manager or a
    delegated unit was named by somebody else, and does not count.

    Args:
        cgroup: the contents of /proc/PID/cgroup.
        user_of: tells a uid's name.
    """
    parts = [part for part in unit_path(cgroup).split("/") if part not in ("", "..")]
    if (container := _container(parts)) is not None:
        return container
    parts = [part.removeprefix("_") for part in parts if not part.endswith(".slice")]
    if not parts:
        return None
    if match := _MANAGER.fullmatch(parts[0]):
        return _user_unit(int(match[1]), parts[1:], user_of)
    return _unit(parts[0])


def _unit(name: str) -> Service | None:
    if name == "init.scope":
        return Service(ServiceKind.INIT.value, "systemd", "systemctl daemon-reexec")
    if match := _SESSION.fullmatch(name):
        advice = "its user has to log out and in again, or restart the programs"
        return Service(ServiceKind.SESSION.value, f"session {match[1]}", "", advice)
    if not name.endswith(".service"):
        if name.endswith(".scope"):
            advice = "a scope is restarted by the program that made it"
            return Service(ServiceKind.UNIT.value, name, "", advice)
        return None
    advice = _HARD_TO_RESTART.get(name, "")
    if name.startswith(("getty@", "serial-getty@")):
        advice = "ends the login on this terminal"
    return Service(ServiceKind.UNIT.value, name, _systemctl(["systemctl"], name), advice)


def _user_unit(uid: int, parts: list[str], user_of: Callable[[int], str]) -> Service:
    user = user_of(uid)
    unit = next((part for part in parts if part.endswith((".service", ".scope"))), "init.scope")
    if unit == "init.scope":
        again = _systemctl(["systemctl", "--user", f"--machine={user}@.host"], None)
        return Service(ServiceKind.USER_UNIT.value, f"manager of {user}", again)
    name = f"{unit} of {user}"
    if unit.endswith(".scope"):
        advice = "the user has to restart the program, or log out and in again"
        return Service(ServiceKind.USER_UNIT.value, name, "", advice)
    line = _systemctl(["systemctl", "--user", f"--machine={user}@.host"], unit)
    return Service(ServiceKind.USER_UNIT.value, name, line, _HARD_TO_RESTART.get(unit, ""))


def _systemctl(start: list[str], unit: str | None) -> str:
    if unit is None:
        return shell_line([*start, "daemon-reexec"])
    end_of_options = ["--"] if unit.startswith("-") else []
    return shell_line([*start, "restart", *end_of_options, unit])


def _container(parts: list[str]) -> Service | None:
    pod = ""
    for place, part in enumerate(parts):
        if match := _POD.fullmatch(part.removesuffix(".slice")):
            pod = match[1].replace("_", "-")
        elif match := _RUNTIME.fullmatch(part):
            return _runtime(match[1] or (parts[place - 1] if place else ""), match[2], pod)
        elif match := _LXC.fullmatch(part):
            return _lxc(match[1])
        elif part == "lxc" and place + 1 < len(parts):
            return _lxc(parts[place + 1])
        elif (match := _MACHINE.fullmatch(part)) and not match[1].startswith("qemu"):
            name = _unescaped(match[1])
            return _made(f"machine {name}", ["machinectl", "reboot", name])
    return None


def _runtime(runtime: str, identifier: str, pod: str) -> Service:
    short = identifier[:12]
    if pod:
        advice = (
            f"the kubelet starts it again; or delete pod {pod} and let its controller replace it"
        )
        return _made(f"pod {pod}, container {short}", ["crictl", "stop", short], advice)
    match runtime:
        case "docker":
            return _made(f"docker {short}", ["docker", "restart", short], _IMAGE)
        case "libpod" | "libpod_parent":
            advice = f"as the user who started it; {_IMAGE}"
            return _made(f"podman {short}", ["podman", "restart", short], advice)
        case "nerdctl":
            return _made(f"containerd {short}", ["nerdctl", "restart", short], _IMAGE)
        case _:
            advice = "restart it with the program that started it"
            return Service(ServiceKind.CONTAINER.value, f"container {short}", "", advice)


_IMAGE: Final = "an image that still has the old library brings it back when recreated"


def _lxc(name: str) -> Service:
    advice = f"under LXD or Incus: {shell_line(['lxc', 'restart', name])}"
    return _made(f"lxc {name}", ["lxc-stop", "--reboot", f"--name={name}"], advice)


def _made(name: str, restart: list[str], advice: str = "") -> Service:
    return Service(ServiceKind.CONTAINER.value, name, shell_line(restart), advice)


def _unescaped(name: str) -> str:
    """A name as it was before systemd escaped it (systemd.unit(5), string escaping)."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
