"""The health gate: after a deployment processes must stay alive and a command must succeed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase

from libswap.errors.base import LibswapError
from libswap.errors.process import ProcessGone
from libswap.errors.watch import HealthFailed
from libswap.install.transaction import Affected
from libswap.linux import command
from libswap.linux.pidfd import PidFd
from libswap.process.identity import Identity
from libswap.watch.bell import Bell
from libswap.watch.rule import Health


def require(
    health: Health,
    watched: Iterable[Affected],
    paths: Iterable[str],
    bell: Bell,
    still_wanted: Callable[[], None],
) -> None:
    """Wait until the machine has proved well.

    Args:
        health: what must hold.
        watched: the processes concerned.
        paths: of the libraries, for the command (LIBSWAP_PATHS, one a line).
        bell: wakes us early.
        still_wanted: called whenever we wake; raises to give up.

    Raises:
        HealthFailed: it is not well.
    """
    counting = [p for p in watched if any(fnmatchcase(p.name, n) for n in health.processes)]
    if health.alive and counting:
        _require_alive(health, counting, bell, still_wanted)
    if health.command:
        _require_command(health, paths)


def _require_alive(
    health: Health, watched: list[Affected], bell: Bell, still_wanted: Callable[[], None]
) -> None:
    deadline = time.monotonic() + health.alive
    with _held(watched) as held:
        while (left := deadline - time.monotonic()) > 0:
            ended = bell.wait(left, list(held))
            for descriptor in ended:
                one = held[descriptor]
                raise HealthFailed(f"process {one.pid} ({one.name}) ended")
            still_wanted()


@contextmanager
def _held(watched: list[Affected]) -> Iterator[dict[int, Affected]]:
    """Descriptors of the very processes, so that no PID can come to mean another."""
    with ExitStack() as stack:
        found: dict[int, Affected] = {}
        for one in watched:
            try:
                held = stack.enter_context(PidFd(one.pid))
                Identity(one.pid, one.start_time).check()
            except ProcessGone:
                raise HealthFailed(f"process {one.pid} ({one.name}) ended") from None
            found[held.descriptor] = one
        yield found


def _require_command(health: Health, paths: Iterable[str]) -> None:
    try:
        done = command.run(
            health.command, timeout=health.timeout, limit=1 << 16,
            environment={"LIBSWAP_PATHS": "\n".join(paths)},
        )  # fmt: skip
    except LibswapError as error:
        raise HealthFailed(error.message) from None
    if done.status != 0:
        raise HealthFailed(f"{health.command[0]}: {done.complaint}")
