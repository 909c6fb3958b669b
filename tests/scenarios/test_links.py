"""However a program was linked to the library."""

from pathlib import Path

import pytest

from support.compiler import Compiler
from support.swapping import Stage, tried

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


LIBRARY = (
    "__attribute__((noinline)) int step(void) { return 10 + VERSION; }\n"
    "int next(void) { return step() * 100 + VERSION; }\n"
)
PROGRAM = "int next(void);\nint main(void) { ready(); while (asked()) answer(next()); }\n"
LINKS = {
    "via lazy slot": ("-Wl,-z,lazy",),
    "via bound slot": ("-Wl,-z,now,-z,norelro",),
    "full RELRO": ("-Wl,-z,relro,-z,now",),
    "-fno-plt": ("-fno-plt",),
    "PIE": ("-fPIE", "-pie"),
    "not PIE": ("-fno-pie", "-no-pie"),
}


@pytest.mark.scenario("calls", ("direct", *LINKS), live="works")
@pytest.mark.parametrize("link", LINKS)
def test_a_program_that_is_linked_in_this_way(stage: Stage, link: str) -> None:
    tried(stage, LIBRARY, PROGRAM, 1101, 1202, link=LINKS[link])
