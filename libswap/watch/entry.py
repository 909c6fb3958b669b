"""The ways to start: one round, a preview, or a service."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from libswap.linux.procfs import PROC
from libswap.operations.deployments import Preview, Round
from libswap.scan.services import ServiceKind, service_of_cgroup
from libswap.settings import Settings
from libswap.watch import once as rounds
from libswap.watch.bell import Bell
from libswap.watch.conveyor import Conveyor, Listener
from libswap.watch.rule import Configuration
from libswap.watch.watcher import Watcher
from libswap.watch.workplace import workplace

if TYPE_CHECKING:
    from libswap.watch.service import AfterRound


def once(
    configuration: Configuration, settings: Settings, listener: Listener, *, clear: bool = False
) -> Round:
    """Deploy what is finished, and end.

    Args:
        configuration: what to watch.
        settings: where the state lies.
        listener: who is told of each step.
        clear: whether failures are counted anew.
    """
    bell = Bell()
    try:
        with workplace(settings) as place:
            watcher = Watcher(configuration, Conveyor(settings, place, bell, listener, _own_unit()))
            try:
                watcher.adopt(configuration)
                if clear:
                    watcher.clear_failures()
                return rounds.once(watcher)
            finally:
                watcher.close()
    finally:
        bell.close()


def serve(
    load: Callable[[], Configuration],
    settings: Settings,
    listener: Listener,
    after: "tuple[AfterRound, ...]" = (),
    *,
    clear: bool = False,
) -> None:
    """Watch until a signal ends it.

    Args:
        load: reads the configuration.
        settings: where the state lies.
        listener: who is told of each step.
        after: told after each round of work.
        clear: whether failures are counted anew.
    """
    from libswap.watch.service import Service  # noqa: PLC0415  watchdog is for those who wait

    configuration, bell = load(), Bell()
    try:
        with workplace(settings) as place:
            watcher = Watcher(configuration, Conveyor(settings, place, bell, listener, _own_unit()))
            try:
                watcher.adopt(configuration)
                if clear:
                    watcher.clear_failures()
                Service(watcher, bell, load, after).run()
            finally:
                watcher.close()
    finally:
        bell.close()


def _own_unit() -> str:
    """The systemd unit that we run in; "" for none."""
    service = service_of_cgroup(PROC.read("self", "cgroup"))
    is_unit = service is not None and service.kind == ServiceKind.UNIT.value
    return service.name if service is not None and is_unit else ""


def preview(configuration: Configuration, settings: Settings, *, clear: bool = False) -> Preview:
    """What `once` would do with the same arguments; nothing is changed."""
    bell = Bell()
    try:
        return rounds.preview(configuration, settings, bell, clear=clear)
    finally:
        bell.close()
