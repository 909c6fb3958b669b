"""Machines that answer on ssh, in namespaces of their own, and a controller on their network."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from support.machine import entered, no_root, started

_NETWORK: Final = "10.77.0"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine over an overlay of this one's root: what it changes is its own.

    Attributes:
        name: in the inventory.
        pid: its first process, as we see it.
        share: a directory of ours that it sees as /mnt.
    """

    name: str
    pid: int
    share: Path

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command there, without the network."""
        return entered(self.pid, *command, check=check)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Several of them.

    Attributes:
        hosts: in the order of the inventory.
        inventory: of Ansible.
        gate: a process in the controller's network namespace.
    """

    hosts: tuple[Host, ...]
    inventory: Path
    gate: int

    def command(self, *words: str | Path) -> list[str]:
        """A command as the controller runs it, on the network of the hosts."""
        own = f"ANSIBLE_SSH_CONTROL_PATH_DIR={self.inventory.parent / 'ssh'}"
        return ["nsenter", f"--net=/proc/{self.gate}/ns/net", "--", "env", own, *map(str, words)]

    def cut(self, host: Host) -> None:
        """Take a host off the network."""
        entered(host.pid, "ip", "link", "set", "eth0", "down")

    def join(self, host: Host) -> None:
        """Bring it back."""
        entered(host.pid, "ip", "link", "set", "eth0", "up")


@contextmanager
def fleet(work: Path, count: int) -> Iterator[Fleet]:
    """Start hosts; they end with all their processes and all that was written there."""
    if reason := no_root("/usr/sbin/sshd", "ssh-keygen"):
        pytest.skip(reason)
    for key in ("host_key", "key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / key], check=True
        )
    with ExitStack() as stack:
        gate = stack.enter_context(_gate())
        hosts = []
        for number in range(1, count + 1):
            place = work / f"host{number}"
            (place / "share").mkdir(parents=True)
            for key in ("host_key", "key.pub"):
                shutil.copy(work / key, place / "share")
            pid = stack.enter_context(started(place, "sshd.sh"))
            _connect(gate, pid, number)
            hosts.append(Host(f"host{number}", pid, place / "share"))
        yield Fleet(tuple(hosts), _inventory(work, hosts), gate)


@contextmanager
def _gate() -> Iterator[int]:
    """A network namespace with a bridge."""
    script = (
        f"ip link set lo up && ip link add br0 type bridge && ip link set br0 up"
        f" && ip addr add {_NETWORK}.1/24 dev br0 && echo ready && exec cat"
    )
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no network of our own can be made here: {holder.communicate()[1]}")
        yield holder.pid
        holder.communicate()


def _connect(gate: int, pid: int, number: int) -> None:
    link = f"host{number}"
    _ip(gate, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip(gate, "link", "set", link, "master", "br0", "up")
    _ip(pid, "addr", "add", f"{_NETWORK}.{number + 1}/24", "dev", "eth0")
    _ip(pid, "link", "set", "eth0", "up")


def _ip(pid: int, *words: str) -> None:
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip", *words]
    subprocess.run(command, check=True, capture_output=True)


def _inventory(work: Path, hosts: Sequence[Host]) -> Path:
    known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5"
    lines = [
        f"{host.name} ansible_host={_NETWORK}.{number}" for number, host in enumerate(hosts, 2)
    ]
    path = work / "inventory.ini"
    path.write_text(
        "\n".join(lines) + "\n\n[all:vars]\nansible_user=root\n"
        f"ansible_ssh_private_key_file={work / 'key'}\nansible_ssh_common_args={known}\n"
        f"ansible_python_interpreter={Path(sys.executable).resolve()}\n"
    )
    return path
