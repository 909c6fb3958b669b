"""A drop directory with a place of libraries behind it, and what became of what was dropped."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from libswap.operations import deployments, history
from libswap.operations.deployments import Ended, Happening, Round
from libswap.settings import Settings
from libswap.watch import entry
from libswap.watch.rule import Configuration, Rule
from libswap.watch.settle import Patience
from support.compiler import Compiler
from support.site import Site, library

QUICK = Patience(settle=0.0, quiet=0.0, incomplete=600.0)


@dataclass
class Drop:
    """A scene: `drop`, `lib` and `state` below one root."""

    compiler: Compiler
    root: Path
    rule: Rule = field(init=False)
    happened: list[Happening] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("drop", "lib"):
            (self.root / name).mkdir(parents=True)
        self.rule = Rule(str(self.box), str(self.lib), patience=QUICK, gather=0.0)
        self.site.place(library(self.compiler, 1), "libx.so.1.1", "libx.so.1")

    @property
    def site(self) -> Site:
        return Site(self.root)

    @property
    def box(self) -> Path:
        return self.root / "drop"

    @property
    def lib(self) -> Path:
        return self.root / "lib"

    @property
    def settings(self) -> Settings:
        return Settings(state_dir=self.root / "state", lock_wait=0)

    @property
    def configuration(self) -> Configuration:
        return Configuration((self.rule,))

    def bytes_of(self, version: int, **options: Any) -> bytes:
        return library(self.compiler, version, **options).read_bytes()

    def put(self, name: str, data: bytes | int = 2) -> Path:
        """Put a file there as one should: written under another name, then moved."""
        hidden = self.box / f".{name[:100]}"
        hidden.write_bytes(self.bytes_of(data) if isinstance(data, int) else data)
        return hidden.rename(self.box / name)

    def change(self, **fields: Any) -> None:
        self.rule = replace(self.rule, **fields)

    def once(self, **options: Any) -> Round:
        return entry.once(self.configuration, self.settings, self.happened.append, **options)

    def one(self) -> Ended:
        """A round that ends exactly one deployment."""
        (ended,) = self.once().ended
        return ended

    def runs(self) -> int:
        """Which version programs are given."""
        data = (self.lib / "libx.so.1").read_bytes()
        return next(v for v in range(1, 10) if data == self.bytes_of(v))

    def operations(self) -> list[str]:
        """What the history says, oldest first."""
        told = history.tell(self.settings)
        return [o.transaction.kind.value for o in reversed(told.operations)]

    def ledger(self) -> list[Ended]:
        return list(reversed(deployments.tell(self.settings, 10_000).ended))

    def lying(self) -> list[str]:
        """What lies in the drop directory itself."""
        return sorted(p.name for p in self.box.iterdir() if p.name not in ("deployed", "rejected"))

    def aside(self, where: str) -> list[str]:
        return sorted(p.name for p in (self.box / where).iterdir())

    def reason(self, name: str) -> str:
        return (self.box / "rejected" / f"{name}.reason").read_text()


def until(condition: Callable[[], bool], bell: Callable[[], object]) -> None:
    """Wait for something that is announced by `bell`, which blocks until the next event."""
    while not condition():
        bell()


def as_user(uid: int, work: Callable[[], None]) -> None:
    """Do something in a child that has given up being root."""
    child = os.fork()
    if child == 0:
        os.setgid(uid)
        os.setuid(uid)
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
