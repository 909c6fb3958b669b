"""Carries one deployment after the other to its end, an interrupted one first."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeAlias

from libswap.errors.base import LibswapError, ReaderGone
from libswap.errors.install import LockHeld
from libswap.operations.deployments import Deployment, Ended, Happening, Outcome
from libswap.settings import Settings
from libswap.watch import deployer
from libswap.watch.bell import Bell, Stopped
from libswap.watch.deployer import Tools
from libswap.watch.dropdir import DropDirectory
from libswap.watch.rule import Policy, Rule
from libswap.watch.workplace import Workplace

_AGAIN: Final = 15.0
"""Seconds until a deployment is gone on with that could not."""

Listener: TypeAlias = Callable[[Happening], None]
"""Told of everything that happens."""


@dataclass(slots=True)
class Conveyor:
    """There is one, because there is one lock of installations.

    Attributes:
        settings: of the operations.
        workplace: what is written.
        bell: what wakes us.
        listener: who is told.
        own_unit: the systemd unit that we run in; "" for none.
        systemctl: the program that restarts units.
        beat: told that work goes on.
        stopping: whether the watcher is to end.
        postponed: why a deployment that has begun cannot go on for now; "" for none.
        again: when it is tried again, on the clock that only goes forward.
        unfinished: whether there may be one that has begun.
    """

    settings: Settings
    workplace: Workplace
    bell: Bell
    listener: Listener
    own_unit: str = ""
    systemctl: str = "systemctl"
    beat: Callable[[], None] = lambda: None
    stopping: bool = False
    postponed: str = ""
    again: float = 0.0
    unfinished: bool = True

    def begin(self, deployment: Deployment, box: DropDirectory, rule: Rule) -> Ended | None:
        """Deploy what was taken; None where it has to be gone on with later.

        Raises:
            Stopped: the watcher is to end.
        """
        return self._ended(lambda tools: deployer.begin(deployment, box, rule, tools))

    def finish(self, find: Callable[[str], tuple[DropDirectory, Rule] | None]) -> Ended | None:
        """Go on with what an earlier watcher, or a held lock, has left.

        Args:
            find: knows the drop directories that are watched, by path.

        Raises:
            Stopped: the watcher is to end.
        """
        if not self.unfinished or self.again > time.monotonic():
            return None
        current = self.workplace.record.current()
        self.workplace.staging.clear(but=current.deployment.id if current else "")
        if current is None:
            self.unfinished = False
            return None
        deployment = current.deployment
        self.say("resumed", f"{deployment.id} was interrupted", deployment.directory)
        known = find(deployment.directory)
        if known is not None:
            return self._ended(lambda tools: deployer.resume(current, *known, tools))
        rule = Rule(deployment.directory, deployment.to, Policy(deployment.policy))
        with closing(self._orphan(rule)) as box:
            return self._ended(lambda tools: deployer.resume(current, box, rule, tools))

    def say(self, kind: str, text: str, path: str = "", *, trouble: bool = False) -> None:
        """Tell the listener."""
        self._happened(Happening(time.time(), kind, text, path, trouble=trouble))

    def stop_if_told(self) -> None:
        """Work goes on, unless it is to end.

        Raises:
            Stopped: it is.
        """
        self.beat()
        if self.stopping:
            raise Stopped

    def _orphan(self, rule: Rule) -> DropDirectory:
        """A directory that is no longer watched; if it is gone, an empty one of our own."""
        try:
            return open_box(rule)
        except LibswapError as error:
            self.say("trouble", error.message, rule.directory, trouble=True)
            return DropDirectory.open(self.workplace.orphans())

    def _ended(self, go: Callable[[Tools], Ended]) -> Ended | None:
        self.unfinished = True
        try:
            ended = go(self._tools())
        except LibswapError as error:
            self.again = time.monotonic() + _AGAIN
            self.postponed = error.message
            self.say("postponed", error.message, trouble=True)
            return None
        self.unfinished, self.again, self.postponed = False, 0.0, ""
        self.workplace.staging.clear()
        self._tell(ended)
        return ended

    def _tools(self) -> Tools:
        return Tools(
            self.settings, self.workplace.record, self.systemctl, self.own_unit, self.bell,
            self.stop_if_told, self.beat, self._step,
        )  # fmt: skip

    def _happened(self, happening: Happening) -> None:
        """Tell the listener; that he cannot hear is no failure of what he is told about."""
        try:
            self.listener(happening)
        except ReaderGone:
            self.stopping = True
        except LibswapError:
            pass  # a full log, say: deploying goes on, and the ledger has it

    def _step(self, deployment: Deployment, kind: str, text: str) -> None:
        names = tuple(drop.name for drop in deployment.drops)
        self._happened(
            Happening(time.time(), kind, text, deployment.directory, names, deployment.id)
        )

    def _tell(self, ended: Ended) -> None:
        done = ended.deployment
        targets = ", ".join(target for _, target in done.targets)
        text = "; ".join((ended.reason or f"to {targets}", *ended.remarks))
        self._happened(
            Happening(
                ended.ended, ended.outcome.value, text, done.directory,
                tuple(drop.name for drop in done.drops), done.id, ended.operation or "",
                trouble=ended.outcome is not Outcome.DEPLOYED,
            )
        )  # fmt: skip


def open_box(rule: Rule) -> DropDirectory:
    """A drop directory, for us alone.

    Raises:
        UntrustedDrop: others can write to it.
        LockHeld: another watcher has it.
    """
    box = DropDirectory.open(rule.directory)
    if not box.lock():
        box.close()
        raise LockHeld(rule.directory, 0, "watch")
    return box
