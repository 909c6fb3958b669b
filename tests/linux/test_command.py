import os
import sys
import time
from pathlib import Path

import pytest

from libswap.errors.base import ProgramFailed
from libswap.linux import command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_both_outputs_and_the_status_are_returned() -> None:
    code = "import sys; print('out'); print('why', file=sys.stderr); sys.exit(3)"
    done = command.run(python(code), timeout=30)
    assert (done.status, done.text, done.complaint, done.cut) == (3, "out\n", "why", False)


def test_a_signal_is_a_negative_status_and_is_named() -> None:
    done = command.run(python("import os; os.kill(os.getpid(), 11)"), timeout=30)
    assert done.status == -11
    assert done.complaint == "it was ended by SIGSEGV"


def test_a_signal_without_a_name_is_told_too() -> None:
    done = command.run(python("import os; os.kill(os.getpid(), 40)"), timeout=30)
    assert done.complaint == "it was ended by SIGRTMIN+6"


def test_words_reach_the_program_unchanged_by_any_shell() -> None:
    word = "$(id) `id` ; * \n 'x'"
    done = command.run([*python("import sys; print(sys.argv[1])"), word], timeout=30)
    assert done.text == word + "\n"


def test_nothing_of_our_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_ME", "1")
    done = command.run(
        python("import os; print(sorted(os.environ))"), timeout=30, environment={"ADDED": "1"}
    )
    assert "LD_PRELOAD_ME" not in done.text
    assert "ADDED" in done.text


def test_programs_are_not_looked_for_in_the_callers_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "libswap-planted"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert command.find("libswap-planted") is None
    with pytest.raises(ProgramFailed, match="No such file"):
        command.run(["libswap-planted"], timeout=30)


def test_output_beyond_the_limit_is_dropped_and_said_so() -> None:
    code = "import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('y' * 3_000_000)"
    done = command.run(python(code), timeout=30, limit=100)
    assert (done.status, len(done.stdout), len(done.stderr), done.cut) == (0, 100, 100, True)


def test_a_program_that_does_not_end_is_killed_with_its_children() -> None:
    code = (
        "import os,time\npid = os.fork()\nprint(pid or os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    started = time.monotonic()
    with pytest.raises(ProgramFailed, match=r"did not end within 0\.5 seconds"):
        command.run(python(code), timeout=0.5)
    assert time.monotonic() - started < 60


def test_a_program_that_closes_its_outputs_and_runs_on_is_killed() -> None:
    code = "import os,time; os.close(1); os.close(2); time.sleep(600)"
    with pytest.raises(ProgramFailed, match="did not end"):
        command.run(python(code), timeout=0.5)


def test_the_standard_input_is_empty() -> None:
    done = command.run(python("import sys; print(repr(sys.stdin.read()))"), timeout=30)
    assert done.text == "''\n"
