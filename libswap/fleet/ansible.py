"""Runs the playbooks of the collection with ansible-runner, and tells what each task has done."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol

from libswap.errors.fleet import AnsibleFailed, AnsibleMissing, InventoryUnusable
from libswap.fleet.rollout import Request

COLLECTIONS: Final = Path(__file__).parent
"""Where ansible_collections lies."""


class Happened(Enum):
    """What can happen to a task on a machine."""

    BEGAN = "runner_on_start"
    SUCCEEDED = "runner_on_ok"
    FAILED = "runner_on_failed"
    UNREACHABLE = "runner_on_unreachable"


_SSH: Final = (
    "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5"
    " -o ServerAliveCountMax=3"
)
"""Ansible's own, and a machine that falls silent is given up after 15 seconds."""

_KINDS: Final = {kind.value: kind for kind in Happened}
_BATCH: Final = "playbook_on_play_start"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A task has begun or ended on a machine.

    Attributes:
        host: the machine.
        task: the name of the task.
        what: has happened.
        result: what the module returned; empty where it has just begun.
    """

    host: str
    task: str
    what: Happened
    result: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        said = (self.result.get("msg"), self.result.get("stderr"))
        text = ": ".join(str(text) for text in said if text) or "it failed"
        return " ".join(text.split())[:500]


class Follower(Protocol):
    """Who is told what a playbook does, while it runs."""

    def batch(self) -> None:
        """The next batch begins."""

    def event(self, event: TaskEvent) -> None:
        """Something has happened to a task."""


@dataclass(frozen=True, slots=True)
class Tool:
    """The libswap that goes to the machines: an archive here, and its digest."""

    path: Path
    sha256: str


def hosts(request: Request) -> tuple[str, ...]:
    """The machines of an inventory, in its order.

    Raises:
        AnsibleMissing: ansible-runner is not installed.
        InventoryUnusable: the inventory cannot be read, or has no such machines.
    """
    for path in request.inventories:  # Ansible only warns of one that is missing
        if "," not in path and not Path(path).exists():
            raise InventoryUnusable((path,), "", "there is no such file")
    words = [word for path in request.inventories for word in ("-i", path)]
    words += ["--list-hosts", request.limit or "all"]
    with tempfile.TemporaryDirectory(prefix="libswap-") as directory:
        out, err, code = _runner().run_command(
            executable_cmd="ansible", cmdline_args=words, private_data_dir=directory,
            quiet=True, envvars=_environment(),
            runner_mode="subprocess",  # else its warnings stand among the machines
        )  # fmt: skip
    found = tuple(line.strip() for line in out.splitlines()[1:] if line.strip())
    if code or not found:
        raise InventoryUnusable(request.inventories, request.limit, _last_words(err or out))
    return found


def play(
    name: str,
    request: Request,
    tool: Tool,
    *,
    on: Sequence[str],
    follower: Follower,
    **more: object,
) -> None:
    """Run a playbook on some machines; whether it succeeded there is said task by task.

    Args:
        name: of the playbook.
        request: what is asked for.
        tool: what is brought to the machines.
        on: the machines, in order.
        follower: told what happens.
        more: variables of the playbook.

    Raises:
        AnsibleMissing: ansible-runner is not installed.
        AnsibleFailed: the playbook could not be run at all.
        KeyboardInterrupt: it was interrupted; what a machine is doing just then it still ends.
    """
    begun = False

    def handle(data: dict[str, Any]) -> bool:
        nonlocal begun
        kind, about = data["event"], data.get("event_data", {})
        if kind == _BATCH:
            follower.batch()
        elif kind in _KINDS:
            begun = True
            result = about.get("res") or {}
            follower.event(TaskEvent(about["host"], about["task"], _KINDS[kind], result))
        return False

    with tempfile.TemporaryDirectory(prefix="libswap-") as directory, _interruptible() as stop:
        run = _runner().run(
            private_data_dir=directory, playbook=f"libswap.fleet.{name}", quiet=True,
            inventory=list(request.inventories), envvars=_environment(),
            extravars={**_variables(request, tool), "libswap_machines": list(on), **more},
            event_handler=handle, cancel_callback=stop.is_set,
        )  # fmt: skip
        if stop.is_set():
            raise KeyboardInterrupt
        if not begun and run.status == "failed":
            raise AnsibleFailed(_last_words(run.stdout.read() + run.stderr.read()))


@contextmanager
def _interruptible() -> Iterator[Event]:
    """An event that Ctrl-C and SIGTERM set.

    ansible-playbook has a session of its own; ansible-runner, which asks for the event, ends it.
    """
    stop = Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _variables(request: Request, tool: Tool) -> dict[str, object]:
    return {
        "libswap_src": request.source,
        "libswap_sha256": request.sha256,
        "libswap_dest": request.destination,
        "libswap_live": request.live,
        "libswap_force": request.force,
        "libswap_become": request.become,
        "libswap_health": list(request.health),
        "libswap_health_retries": request.retries,
        "libswap_health_delay": request.delay,
        "libswap_batch_health": list(request.batch_health),
        "libswap_max_fail": request.most_failures,
        "libswap_tool": str(tool.path),
        "libswap_keep_tool": request.keep_tool,
    }


def _environment() -> dict[str, str]:
    """Ours, and the Ansible of our own Python before any other, with the collection."""
    paths = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "")
    programs = os.environ.get("PATH", os.defpath)
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), programs)),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(filter(None, (str(COLLECTIONS), paths))),
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_SSH_ARGS": os.environ.get("ANSIBLE_SSH_ARGS", _SSH),
    }


def _runner() -> Any:  # noqa: ANN401  it has no types
    try:
        return import_module("ansible_runner")
    except ImportError:
        raise AnsibleMissing from None


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])[:1000]
