import os
from pathlib import Path

import pytest

from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

ROUNDS = 30


def _held(target: Target) -> tuple[int, int, int, int]:
    """Bytes of address space, mappings, descriptors and threads."""
    directory = Path(f"/proc/{target.pid}")
    pages = int((directory / "statm").read_text().split()[0])
    mappings = len((directory / "maps").read_text().splitlines())
    return (
        pages * os.sysconf("SC_PAGE_SIZE"),
        mappings,
        len(list((directory / "fd").iterdir())),
        len(list((directory / "task").iterdir())),
    )


@pytest.mark.scenario("series", ("many in a row",), live="works; nothing grows")
def test_going_back_and_forth_takes_no_more_memory_mappings_or_descriptors(
    compiler: Compiler, tmp_path: Path
) -> None:
    stage = Stage(compiler, tmp_path / "libversion.so")
    builds = {v: stage.build("live/version.c", version=v) for v in (1, 2)}
    stage.install(builds[1])
    held = []
    with stage.running(stage.program("live/driver.c")) as target:
        for _ in range(ROUNDS):
            for version in (2, 1):
                stage.install(builds[version])
                stage.moved(target, force=version == 1)
                assert int(target.ask("version")) == version
            held.append(_held(target))
    space = [size for size, *_ in held]
    assert len({one[1:] for one in held}) == 1, held
    assert space[-1] == space[ROUNDS // 2], space
