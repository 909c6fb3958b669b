"""Deploy what was taken, step by step, so that a kill at any moment loses and repeats nothing.

received → installing → acted (processes moved or restarted) → the gate → ending, and from anything
that fails after the installation: undoing → ending. Each step is written down before it is begun;
whether an installation came to be is asked of the history, which the install engine keeps.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from libswap.errors.base import LibswapError
from libswap.errors.install import LockHeld
from libswap.errors.process import ProcessGone
from libswap.errors.watch import HealthFailed
from libswap.install.history import Operation
from libswap.install.obstacles import Allowance
from libswap.install.transaction import Affected
from libswap.operations import install, rollback
from libswap.operations.deployments import (
    Acted,
    Current,
    Deployment,
    Ended,
    Ending,
    Installing,
    Mark,
    Outcome,
    Resumed,
    RollingBack,
    Undoing,
)
from libswap.process.identity import Identity
from libswap.settings import Settings
from libswap.watch import action, aside, gate, installation, units
from libswap.watch.bell import Bell
from libswap.watch.dropdir import DropDirectory
from libswap.watch.record import Record
from libswap.watch.rule import Policy, Rule

M = TypeVar("M", bound=Mark)

_MOST_RESUMES: Final = 3


@dataclass(frozen=True, slots=True)
class Tools:
    """What a deployment works with.

    Attributes:
        settings: of the operations.
        record: where each step is written.
        systemctl: the program that restarts units.
        own_unit: the unit that we run in; "" for none.
        bell: what wakes us while the gate waits.
        still_wanted: raises when the watcher is to end.
        beat: told that work goes on.
        say: told of each step, with a sentence.
    """

    settings: Settings
    record: Record
    systemctl: str
    own_unit: str
    bell: Bell
    still_wanted: Callable[[], None]
    beat: Callable[[], None]
    say: Callable[[Deployment, str, str], None]


def begin(deployment: Deployment, box: DropDirectory, rule: Rule, tools: Tools) -> Ended:
    """Deploy what was taken, to its end.

    Raises:
        LockHeld: another libswap works; the deployment goes on with `resume`.
        Stopped: the watcher is to end; likewise.
    """
    run = _Run(Current(deployment), box, rule, tools)
    refused = (run.decided(),) if deployment.refusal else ()
    run.current = tools.record.begin(deployment, *refused)
    return run.to_its_end()


def resume(current: Current, box: DropDirectory, rule: Rule, tools: Tools) -> Ended:
    """Go on with a deployment that was interrupted.

    Raises:
        LockHeld, Stopped: as `begin`.
    """
    # What was begun under one policy ends under it, whatever the configuration says by now.
    same = replace(rule, policy=Policy(current.deployment.policy))
    run = _Run(current, box, same, tools)
    run.mark(Resumed(time.time()))
    return run.to_its_end()


@dataclass(slots=True)
class _Run:
    """One deployment and how far it has come."""

    current: Current
    box: DropDirectory
    rule: Rule
    tools: Tools

    @property
    def deployment(self) -> Deployment:
        return self.current.deployment

    def mark(self, mark: M) -> M:
        self.current = self.tools.record.mark(self.current, mark)
        return mark

    def last(self, kind: type[M]) -> M | None:
        """The newest mark of a kind."""
        found = (mark for mark in reversed(self.current.marks) if isinstance(mark, kind))
        return next(found, None)

    def to_its_end(self) -> Ended:
        ending = self.last(Ending) or self.mark(self.decided())
        return self._closed(ending)

    # --- deciding what becomes of it ---

    def decided(self) -> Ending:
        """Go forward, or back; what is left then is to put things in their places."""
        if self.deployment.refusal:
            return self._ending(Outcome.REJECTED, self.deployment.refusal)
        if self.last(Undoing) is None:
            try:
                return self._forward()
            except LockHeld:
                raise
            except LibswapError as error:
                if self._installed() is None:
                    begun = self.last(Installing) is not None
                    outcome = Outcome.FAILED if begun else Outcome.REJECTED
                    return self._ending(outcome, error.message)
                self.mark(Undoing(error.message))
        return self._backward()

    def _forward(self) -> Ending:
        if sum(isinstance(mark, Resumed) for mark in self.current.marks) > _MOST_RESUMES:
            raise HealthFailed(f"the watcher was interrupted {_MOST_RESUMES} times over it")
        remarks: tuple[str, ...] = ()
        operation = self._installed()
        if operation is None:
            operation, remarks = self._install()
        if operation is None:
            return self._ending(Outcome.DEPLOYED, "", remarks)
        done = self.last(Installing)
        assert done is not None  # noqa: S101  what is installed was begun
        acted = self.last(Acted)
        if acted is None:
            self._say("acting", f"policy {self.rule.policy.value}")
            tools = self.tools
            acted = action.act(self.rule, done, tools.settings, tools.systemctl, tools.beat)
            if self.rule.policy is not Policy.NONE:
                self.mark(acted)
        self._pass_gate(acted, operation)
        return self._ending(Outcome.DEPLOYED, "", (*remarks, *operation.remarks, *acted.remarks))

    def _install(self) -> tuple[Operation | None, tuple[str, ...]]:
        """Plan, judge, write down under which name, and do it; None where nothing changes."""
        self._say("checking", "compared with what is installed")
        plan = install.plan(
            installation.request(self.deployment.targets, self.rule), self.tools.settings
        )
        installation.require_verified(plan, self.deployment)
        installation.require_acceptable(plan, self.rule)
        remarks = tuple(f"{n.path} {n.text}" for n in plan.notices)
        if not plan.transaction.changes:
            return None, ("these bytes are installed already",)
        found = units.affected(plan.usage.users, self.tools.own_unit)
        restarts = self.rule.policy is Policy.RESTART
        pairs = plan.comparisons
        self.mark(
            Installing(
                plan.transaction.id,
                tuple((pair.predecessor, pair.path) for pair in pairs),
                plan.transaction.affected,
                found.units if restarts else (),
            )
        )
        self._say("installing", f"operation {plan.transaction.id}")
        done = install.carry_out(plan, self.tools.settings)
        return done.operation, (*remarks, *(found.left if restarts else ()))

    def _installed(self) -> Operation | None:
        """The installation, if it came to be."""
        return self._found(self.last(Installing))

    def _found(self, begun: Installing | RollingBack | None) -> Operation | None:
        """An operation that was begun, if it came to be."""
        return None if begun is None else installation.found(begun.operation, self.tools.settings)

    def _pass_gate(self, acted: Acted, operation: Operation) -> None:
        if not (self.rule.health.command or self.rule.health.alive):
            return
        self._say("gate", "waiting for the health gate")
        paths = [change.path for change in operation.transaction.changes]
        tools, watched = self.tools, acted.watched
        if self.last(Resumed) is not None:
            # Nobody saw how those ended that did so while no watcher ran: a reboot, say.
            watched = tuple(one for one in watched if _lives(one))
        gate.require(self.rule.health, watched, paths, tools.bell, tools.still_wanted)

    # --- taking it back ---

    def _backward(self) -> Ending:
        undoing, done = self.last(Undoing), self.last(Installing)
        assert undoing is not None  # noqa: S101  nothing else leads here
        assert done is not None  # noqa: S101
        self._say("undoing", undoing.reason)
        remarks: tuple[str, ...] = ()
        try:
            rolled_back = self._rolled_back(done)
        except LockHeld:
            raise
        except LibswapError as error:
            rolled_back, remarks = None, (f"it could not be rolled back: {error.message}",)
        try:
            left = action.undo(self.rule, done, self.deployment, self.tools.systemctl)
        except LibswapError as error:
            left = (f"processes could not be brought back: {error.message}",)
        return self._ending(Outcome.FAILED, undoing.reason, (*remarks, *left), rolled_back)

    def _rolled_back(self, done: Installing) -> str:
        begun = self.last(RollingBack)
        if begun is not None and self._found(begun) is not None:
            return begun.operation
        plan = rollback.plan(done.operation, self.tools.settings, Allowance())
        self.mark(RollingBack(plan.transaction.id))
        return rollback.carry_out(plan, self.tools.settings).operation.transaction.id

    # --- the end ---

    def _ending(
        self, outcome: Outcome, reason: str, remarks: Sequence[str] = (),
        rolled_back: str | None = None,
    ) -> Ending:  # fmt: skip
        names = aside.names(self.box, self.deployment, outcome)
        done = self._installed()
        operation = None if done is None else done.transaction.id
        return Ending(outcome, reason, operation, rolled_back, names, tuple(remarks))

    def _closed(self, ending: Ending) -> Ended:
        """Put everything in its place; each step can be repeated."""
        ended = Ended(
            self.deployment, ending.outcome, ending.reason, ending.operation, ending.rollback,
            time.time(), ending.remarks,
        )  # fmt: skip
        stuck = aside.put(self.box, ended, ending.aside)
        ended = replace(ended, remarks=(*ended.remarks, *stuck), left=bool(stuck))
        self.tools.record.end(ended, again=self.last(Resumed) is not None)
        self.box.prune(self.rule.limits)
        return ended

    def _say(self, kind: str, text: str) -> None:
        self.tools.beat()
        self.tools.say(self.deployment, kind, text)


def _lives(process: Affected) -> bool:
    try:
        Identity(process.pid, process.start_time).check()
    except ProcessGone:
        return False
    return True
