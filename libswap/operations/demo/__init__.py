"""Shows, on processes of its own, what replacing a library does to those who use it."""

import tempfile
from pathlib import Path

from libswap.operations.demo import mishaps, upgrade
from libswap.operations.demo.result import Demonstration
from libswap.operations.demo.workshop import Workshop


def demonstrate() -> Demonstration:
    """Build the programs and play every scene in a temporary directory, gone afterwards.

    Raises:
        MissingTool: neither cc nor the ziglang wheel is there.
        ProgramFailed: a program did not do what every program of the demo does.
    """
    with tempfile.TemporaryDirectory(prefix="libswap-demo-") as name:
        directory = Path(name)
        workshop = Workshop.build(directory)
        return Demonstration(
            compiler=" ".join(workshop.compiler),
            scenes=tuple(mishaps.play(directory, workshop)),
            acts=tuple(upgrade.play(directory / "upgrade", workshop)),
        )
