"""The shapes of patch that others have shown, and what a process does meanwhile."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libswap.linux.memory import ProcessMemory
from libswap.operations import patch_apply, patch_revert
from libswap.operations.moves import Refused
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted
from libswap.operations.patch_status import status
from libswap.patch.link import Wishes
from support.compiler import FIXTURES, Compiler
from support.host import Host, host
from support.target import Target, running

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]


@pytest.fixture(scope="module")
def shapes(compiler: Compiler) -> Path:
    return compiler.program("patch/host.c", str(compiler.object("patch/shapes.c", "-O2")))


@pytest.fixture
def process(shapes: Path) -> Iterator[Host]:
    with host(shapes) as found:
        yield found


def patched(program: Path, source: str, tmp_path: Path, pid: int, **options: object) -> Applied:
    path = tmp_path / "fix.c"
    path.write_text(source)
    output = tmp_path / "fix.lsp"
    build(Request([path], program, output, Wishes(force=True)))
    (result,) = patch_apply.apply(output, Options(**options), pids=[pid]).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Applied), result.outcome
    return result.outcome


def test_two_functions_that_call_each_other_and_share_a_counter(
    shapes: Path, process: Host, tmp_path: Path
) -> None:
    assert process.scenario(1003) == 1 + 10 + 1 + 10
    source = """
    extern int shared_counter;
    int ping(int);
    int pong(int n) { shared_counter += 1000; return n <= 0 ? shared_counter : ping(n - 1); }
    int ping(int n) { shared_counter += 100; return n <= 0 ? shared_counter : pong(n - 1); }
    """
    patched(shapes, source, tmp_path, process.pid)
    assert process.scenario(1003) == 22 + 100 + 1000 + 100 + 1000, "the counter went on"


def test_a_recursive_function(shapes: Path, process: Host, tmp_path: Path) -> None:
    assert process.scenario(2005) == 120
    source = "long factorial(long n) { return n < 2 ? 7 : n * factorial(n - 1); }\n"
    patched(shapes, source, tmp_path, process.pid)
    assert process.scenario(2005) == 840


def test_two_variants_that_are_switched_back_and_forth(
    shapes: Path, process: Host, tmp_path: Path
) -> None:
    assert process.scenario(3004) == 1 + 3 + 3 + 5
    source = "int variant_a(int n) { return n * 10; } int variant_b(int n) { return n * 100; }\n"
    for _ in range(3):
        patched(shapes, source, tmp_path, process.pid)
        assert process.scenario(3004) == 0 + 100 + 20 + 300
        (result,) = patch_revert.revert([process.pid], "", Options()).processes
        assert isinstance(result.outcome, Reverted)
        assert process.scenario(3004) == 12


def test_a_static_helper_that_a_loop_calls(shapes: Path, process: Host, tmp_path: Path) -> None:
    assert process.scenario(4100) == 25
    source = "int is_prime(int n) { return n == 2 || (n > 2 && n % 2); }\n"
    patched(shapes, source, tmp_path, process.pid)
    assert process.scenario(4100) == 50


def test_a_structure_whose_meaning_changes(shapes: Path, process: Host, tmp_path: Path) -> None:
    assert process.scenario(5010) == 10 + 20 + 5
    source = """
    #include <stdlib.h>
    struct fixed { short low, high; int y; char name[8]; };
    int measure(struct fixed *p) { return p->low * 2 + p->high + abs(-p->y) + p->name[0]; }
    """
    patched(shapes, source, tmp_path, process.pid)
    assert process.scenario(5010) == 20 + 0 + 20 + ord("p")


WORK = (
    "long deep(int, long);\nextern int depth;\nlong work(long a) { return deep(depth, a) + 5; }\n"
)


def asked(target: Target) -> list[int]:
    target.say("")
    return [int(word) for word in target.line().split()]


@pytest.mark.slow
def test_64_threads_inside_all_the_time_lose_no_call(compiler: Compiler, tmp_path: Path) -> None:
    program = compiler.program("patch/spinner.c", "-O2", "-pthread")
    with running(program, "64") as target:
        patched(program, WORK, tmp_path, target.pid, relaxed=True, wait=60.0)
        assert asked(target)[0] == 5
        options = Options(relaxed=True, wait=60.0)
        (result,) = patch_revert.revert([target.pid], "", options).processes
        assert isinstance(result.outcome, Reverted), result.outcome
        assert asked(target)[0] == 0
        assert asked(target)[2] == 0, "no thread ever computed anything else"


def test_deep_recursion_in_the_replaced_function_is_waited_for(
    compiler: Compiler, tmp_path: Path
) -> None:
    program = compiler.program("patch/spinner.c", "-O2", "-pthread")
    source = "long deep(int n, long a) { return a + 2L * n; }\n"
    with running(program, "4", "2000") as target:
        patched(program, source, tmp_path, target.pid, wait=60.0)
        assert asked(target)[0] == 0
        assert asked(target)[2] == 0


def test_a_function_that_never_returns_is_named(compiler: Compiler, tmp_path: Path) -> None:
    program = compiler.program("patch/host.c", str(compiler.object("patch/shapes.c", "-O2")))
    path = tmp_path / "fix.c"
    path.write_text("int main(void) { return 0; }\n")
    output = tmp_path / "fix.lsp"
    build(Request([path], program, output, Wishes(force=True)))
    with host(program) as process:
        (result,) = patch_apply.apply(output, Options(wait=0.3), pids=[process.pid]).processes
        assert isinstance(result.outcome, Refused)
        assert result.outcome.error == "CommitBlocked"
        assert "will return into main" in result.outcome.reason
        assert process.scenario(2005) == 120


def test_children_of_a_patched_process_carry_the_patch(compiler: Compiler, tmp_path: Path) -> None:
    source = """
    #include <sys/wait.h>
    #include <unistd.h>
    __attribute__((noinline)) int value(int n) { return n + (n > 99 ? 1 : 0); }
    long scenario(long n) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(value((int)n));
        waitpid(child, &status, 0);
        return WEXITSTATUS(status) * 1000 + value((int)n);
    }
    """
    program = compiler.program("patch/host.c", str(compiler.object(source, "-O2")))
    with host(program) as process:
        assert process.scenario(5) == 5005
        patched(program, "int value(int n) { return 42; }\n", tmp_path, process.pid)
        assert process.scenario(5) == 42042


def test_exceptions_pass_through_a_patch_in_a_running_process(
    compiler: Compiler, tmp_path: Path
) -> None:
    main = compiler.object("patch/host.c", "-O2")
    program = compiler.program("patch/thrower.cc", str(main), "-O2", cc="g++")
    output = tmp_path / "fix.lsp"
    build(Request([FIXTURES / "patch/thrower_fix.cc"], program, output, Wishes(force=True)))
    with host(program) as process:
        (result,) = patch_apply.apply(output, Options(), pids=[process.pid]).processes
        assert isinstance(result.outcome, Applied), result.outcome
        assert result.outcome.remarks == ()
        assert process.scenario(3) == -101
        assert process.scenario(4) == -100 - ord("m")


def test_memory_is_never_writable_and_executable(
    shapes: Path, process: Host, tmp_path: Path
) -> None:
    patched(shapes, "static int n; int primes(int l) { return ++n; }\n", tmp_path, process.pid)
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert " rwx" not in maps


def test_what_verify_says_of_a_patch_that_somebody_changed(
    shapes: Path, process: Host, tmp_path: Path
) -> None:
    outcome = patched(shapes, "int primes(int l) { return 1; }\n", tmp_path, process.pid)
    listed = subprocess.run(
        [sys.executable, "-m", "libswap", "patch", "verify", str(process.pid)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (listed.returncode, "as it was applied" in listed.stdout) == (0, True)
    (found,) = status([process.pid]).processes
    with ProcessMemory(process.pid) as memory:
        memory.write(found.patches[0].entries[0].code, b"\xcc")
    damaged = status([process.pid], verify=True)
    assert damaged.exit_code == 102
    assert outcome.id in damaged.processes[0].damage[0]
