"""A watcher that deploys what is dropped, and is killed at random moments."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libswap.operations import ledger
from support.builds import Build
from support.http_load import Load
from support.servers import Server
from tests.soak.operator import Operator

CURRENT: Final = Path(ledger.DIRECTORY, ledger.CURRENT)
_PATIENCE: Final = 300.0


@dataclass(slots=True)
class Deployments:
    """Drops libraries into a directory whose watcher moves a second web server, and kills it."""

    operator: Operator
    server: Server
    load: Load
    root: Path
    builds: list[Build]
    every: float = 1.0
    _turn: int = 0
    _watcher: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        (self.root / "drop").mkdir()
        (self.root / "watch.toml").write_text(
            f'rescan = 10.0\n[[drop]]\ndirectory = "{self.root}/drop"\nto = "{self.root}/lib"\n'
            'policy = "live"\naccept = "any"\nsettle = 0.05\nsettle_unseen = 0.05\ngather = 0.0\n'
            "[drop.limits]\nkeep_files = 10\nfailures = 0\n"
        )

    def turn(self) -> None:
        chance = self.operator.chance
        if self._watcher is None:
            self._start()
        if chance.random() < 0.2:
            self._drop("junk.so", b"no library")
            self.operator.figures.count("files dropped that are no libraries")
        self._turn += 1
        build = self.builds[self._turn % len(self.builds)]
        self._drop("libz.so.1", build.path.read_bytes())
        if chance.random() < 0.15:
            time.sleep(chance.uniform(0.0, 1.5))  # the moment is the test
            self.kill_watcher()
            self.operator.figures.count("watchers killed by SIGKILL")
            self._start()
        self._await(build)
        self.operator.figures.count("deployments by the watcher")

    def end(self) -> None:
        if self._watcher is None:
            return
        self._watcher.terminate()
        assert self._watcher.wait(_PATIENCE) == 0
        told = self.operator.must("watch", "status")
        assert told.document["result"]["current"] is None, told
        assert not list((self.root / "drop").glob("*.so*"))

    def _start(self) -> None:
        words = self.operator.libswap.words("watch", "--config", self.root / "watch.toml")
        with (self.root / "watch.log").open("wb") as log:
            self._watcher = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def kill_watcher(self) -> None:
        """By SIGKILL, if there is one."""
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.wait()

    def _drop(self, name: str, data: bytes) -> None:
        hidden = self.root / "drop" / f".{name}"
        hidden.write_bytes(data)
        hidden.rename(hidden.with_name(name))

    def _await(self, build: Build) -> None:
        """Until the deployment has ended; from then on no other build answers."""
        deadline = time.monotonic() + _PATIENCE
        under_way = (self.root / "drop" / "libz.so.1", self.operator.libswap.state / CURRENT)
        while any(file.exists() for file in under_way):
            said = (self.root / "watch.log").read_text()
            assert time.monotonic() < deadline, f"{build} was not deployed: {self.load}\n{said}"
            assert self._watcher is None or self._watcher.poll() is None, said
            self.load.more(1)
        moment = time.monotonic()
        self.load.more(5)
        assert self.load.begun_since(moment).keys() == {build.mark}, f"{build}: {self.load}"
        assert not self.load.failures, self.load
