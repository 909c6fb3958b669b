"""A drop directory with a place of libraries behind it, and what became of what was dropped."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from libswap.install.history import Outcome
from libswap.operations import history, ledger
from libswap.operations.deployments import Ended, Happening, Round
from libswap.settings import Settings
from libswap.watch import entry
from libswap.watch.rule import Configuration, Rule
from libswap.watch.settle import Patience
from support.compiler import Compiler
from support.site import Site, library
from support.terminal import LIBSWAP

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

    def toml(self, more: str = "") -> str:
        """The rule's directories as a configuration, with further lines."""
        return (
            f'rescan = 3600\n[[drop]]\ndirectory = "{self.box}"\nto = "{self.lib}"\n'
            f"settle = 0.0\nsettle_unseen = 0.0\ngather = 0.0\n{more}"
        )

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

    def operations_done(self) -> list[str]:
        """Those that hold or held, oldest first; not those that a crash undid."""
        told = reversed(history.tell(self.settings).operations)
        return [o.transaction.kind.value for o in told if o.outcome is Outcome.DONE]

    def ledger(self) -> list[Ended]:
        return list(reversed(ledger.tell(self.settings, 10_000).ended))

    def lying(self) -> list[str]:
        """What lies in the drop directory itself."""
        return sorted(p.name for p in self.box.iterdir() if p.name not in ("deployed", "rejected"))

    def aside(self, where: str) -> list[str]:
        return sorted(p.name for p in (self.box / where).iterdir())

    def reason(self, name: str) -> str:
        return (self.box / "rejected" / f"{name}.reason").read_text()


class Running:
    """`libswap watch --json` in a process of its own, heard line by line."""

    def __init__(self, drop: Drop, configuration: str = "", **environment: str) -> None:
        self.drop = drop
        self.file = drop.root / "watch.toml"
        self.file.write_text(configuration or drop.toml())
        self.heard: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [*LIBSWAP, "watch", "--config", str(self.file), "--state-dir",
             str(drop.settings.state_dir), "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.until("started")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def until(self, kind: str, name: str = "") -> dict[str, Any]:
        """Hear events until one of a kind comes, about a file where one is named."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(json.loads(line))
            said = self.heard[-1]
            if said.get("kind") == kind and (not name or name in said["names"]):
                return said
        raise AssertionError(f"it ended without {kind}: {self.heard}")

    def kinds(self) -> list[str]:
        return [str(one["kind"]) for one in self.heard]

    def end(self) -> int:
        """Tell it to end, politely."""
        self.process.send_signal(signal.SIGTERM)
        self.until("stopped")
        return self.process.wait(60)
