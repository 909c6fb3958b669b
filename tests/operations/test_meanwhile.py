"""What a program does between the look and the commit is not lost, and not overlooked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from libswap.live import preparation, swap
from libswap.operations.moves import Refused
from libswap.operations.survival import nameless
from libswap.settings import Settings
from support.compiler import Compiler
from support.driven import Target
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

PROGRAM = (
    "int version(void); void act(void); int get(void); typedef int (*call)(void);\n"
    "call callback(void);\n"
    "int main(void) { call volatile saved = callback(); ready(); while (asked()) {\n"
    "if (*line == 'a') act(); answer(get() * 10 + version()); } return saved != 0; }\n"
)
COMMON = (
    "int version(void) { return VERSION; }\n"
    "#if VERSION == 2\nstatic long more[40]; long *told(void) { return more; }\n#endif\n"
    "typedef int (*call)(void);\n"
)
PLAIN = COMMON + (
    "static int value; void act(void) { value = 42; } int get(void) { return value; }\n"
    "call callback(void) { return 0; }\n"
)
KEPT = COMMON + (
    "static int a; void act(void) { a += 42; } int get(void) { return a; }\n"
    '__attribute__((naked)) static int back(void) { __asm__("xorl %eax, %eax\\n'
    '1: addl a(%rip), %eax\\n testl %eax, %eax\\n js 1b\\n ret\\n jmp *%rax"); }\n'
    "call callback(void) { return back; }\n"
)
"""It jumps to its own first bytes and through a pointer: no gate can stand for its entry."""
AIMED = COMMON + (
    "static int own = 1; static int *last = &own;\n"
    "#if VERSION == 1\nstatic int other;\n#else\nstatic long other;\n#endif\n"
    "void act(void) { last = (int *)&other; } int get(void) { own++; return *last; }\n"
    "long fill(void) { return other++; } call callback(void) { return 0; }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libmeanwhile.so")


def _refused(
    stage: Stage, library: str, monkeypatch: pytest.MonkeyPatch, after: Callable[[Target], object]
) -> tuple[Refused, str]:
    """Swap a program that does something in the middle; what it was told, and its next answer."""
    stage.install(stage.build(library, "-s", version=1))
    made = stage.program(PROGRAM, "-include", str(stage.header))
    prepare = preparation.Preparation.of
    with stage.running(made) as target:
        target.ask("get")
        stage.install(stage.build(library, "-s", version=2))

        def of(*all_of_it: object) -> preparation.Preparation:
            after(target)
            return prepare(*all_of_it)  # type: ignore[arg-type]

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(swap.Preparation, "of", of)
            refused = stage.refused(target, accept_unknown=True)
        return refused, target.ask("get")


def _act(target: Target) -> None:
    target.ask("act")


def test_data_of_which_nothing_is_known(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameless, "Settings", lambda: replace(Settings(), survival_time=0.0))
    refused, answer = _refused(stage, PLAIN, monkeypatch, _act)
    assert refused.reason.startswith("state-without-names: 1 bytes")
    assert answer == "421"


def test_data_that_old_code_uses_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    refused, answer = _refused(stage, KEPT, monkeypatch, _act)
    assert refused.reason.startswith("state-of-old-code"), refused
    assert answer == "421"


def test_a_pointer_to_data_that_is_not_carried(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, answer = _refused(stage, AIMED, monkeypatch, _act)
    assert refused.reason.startswith("state-without-names: the word at"), refused
    assert answer[-1] == "1"
