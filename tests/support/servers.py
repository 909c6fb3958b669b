"""Real servers on the loopback, run with copies of libraries and ended by PID."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        process: the one that the test started, parent of all others.
        port: where it listens on the loopback.
        log: what it writes about itself.
    """

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pids(self) -> list[int]:
        """The first process and all that descend from it now."""
        first = psutil.Process(self.process.pid)
        return [first.pid, *(child.pid for child in first.children(recursive=True))]

    @property
    def workers(self) -> list[int]:
        """All but the first process."""
        return self.pids[1:]


@contextmanager
def started(
    command: Callable[[int], Sequence[object]], log: Path, libraries: Path,
    inside: int | None = None, workers: int = 0,
) -> Iterator[Server]:  # fmt: skip
    """A server that answers on a port of the loopback, until the end of the block.

    Args:
        command: given the port, its command line; it must not put itself into the background.
        log: file for its standard error.
        libraries: directory that the dynamic linker searches first (LD_LIBRARY_PATH).
        inside: a process whose mount namespace it is started in.
        workers: how many processes it starts; all of them are there.
    """
    enter = ["nsenter", f"--target={inside}", "--mount", "--"] if inside else []
    with _reserved_port() as port:
        words = [*enter, *map(str, command(port))]
        with log.open("ab") as said:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
            )
        server = Server(process, port, log)
        try:
            _await_answer(server)
            _await_workers(server, workers)
            yield server
        finally:
            _end(server)


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A TCP port of the loopback that the kernel gives to nobody who asks for any.

    Who asks for this very one gets it, as long as we do not listen and both say SO_REUSEADDR
    (socket(7)), which servers do.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def put(build: Path, place: Path) -> Path:
    """A copy of a library at `place`, as an installer would leave it: whole, by rename."""
    place.parent.mkdir(parents=True, exist_ok=True)
    staged = place.with_name(f".{place.name}.staged")
    shutil.copy(build, staged)
    staged.chmod(0o644)
    return staged.rename(place)


def mapped(pid: int, name: str) -> set[tuple[str, int, bool]]:
    """Device, inode and whether deleted, of what `pid` maps from files called `name`."""
    found = set()
    for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
        _, _, _, device, inode, *path = line.split(None, 5)
        file = path[0].removesuffix(" (deleted)") if path else ""
        if file.rsplit("/", 1)[-1] == name:
            found.add((device, int(inode), path[0].endswith(" (deleted)")))
    return found


def _await_answer(server: Server) -> None:
    """Servers of others do not say "ready": ask until the port answers or the server ends."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except OSError:
            ended = server.process.poll() is not None
            assert not ended, f"{server.process.args} ended: {server.log.read_text()}"
            assert time.monotonic() < deadline, f"{server.process.args} does not listen"
            time.sleep(0.01)
        else:
            return


def _await_workers(server: Server, workers: int) -> None:
    """The first answers before the last has been started."""
    deadline = time.monotonic() + _PATIENCE
    while len(server.workers) < workers:
        assert time.monotonic() < deadline, f"{server.process.args} has {server.workers}"
        time.sleep(0.01)


def _end(server: Server) -> None:
    """End the server and what descends from it, by PID; the impatient way in the end."""
    try:
        family = [psutil.Process(pid) for pid in server.pids]
    except psutil.NoSuchProcess:
        family = []
    server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(5)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(5)
    for process in family:
        try:
            process.kill()  # psutil compares the start time first
        except psutil.NoSuchProcess:
            continue
