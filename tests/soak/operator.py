"""Somebody who runs libswap, and sometimes kills it at a random moment."""

import random
import subprocess
import time
from dataclasses import dataclass, field
from typing import Final

from support.command import Done, Libswap
from tests.soak.figures import Figures

KILLED: Final = 0.2
"""The part of the commands that are killed, as far as they have not ended before."""


@dataclass(slots=True)
class Operator:
    """Runs commands with one state directory.

    Attributes:
        libswap: the command line.
        figures: where its deeds are counted.
        chance: decides.
    """

    libswap: Libswap
    figures: Figures
    chance: random.Random
    _usual: dict[object, float] = field(default_factory=dict)

    def must(self, *words: object) -> Done:
        """Run it to its end, which must be a good one."""
        begun = time.monotonic()
        done = self._good(words, self.libswap(*words))
        self._usual[words[0]] = time.monotonic() - begun
        return done

    def risk(self, *words: object) -> Done | None:
        """Run it; perhaps kill it at a random moment, then recover: None."""
        if self.chance.random() > KILLED:
            return self.must(*words)
        moment = self.chance.uniform(0.0, 1.2) * self._usual.get(words[0], 1.0)
        with self.libswap.start(*words) as process:
            try:
                said, _ = process.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.figures.count("commands killed by SIGKILL")
                self.must("recover")
                return None
        return self._good(words, Done.of(process.returncode, said))

    def _good(self, words: tuple[object, ...], done: Done) -> Done:
        self.figures.count(f"`libswap {words[0]}`")
        assert done.code == 0, f"{words}: {done}"
        assert done.document, f"{words}: {done}"
        return done
