"""Processes of every kind: moved, or refused in exact words and as they were."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from libswap.live.thread import state, states, tracer
from libswap.operations.moves import Refused, Skipped
from libswap.operations.swap import Request, swap_library
from libswap.process.freezer import frozen
from support.compiler import Compiler, has
from support.driven import Target, running
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
INCLUDE = (
    "#include <fcntl.h>\n#include <sys/mman.h>\n#include <sys/prctl.h>\n#include <unistd.h>\n"
    "#include <sys/resource.h>\n#include <sys/syscall.h>\n"
)
PROGRAM = INCLUDE + (
    "int next(void);\nint main(void) { PRELUDE; ready(); while (asked()) answer(next()); }\n"
)


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def processes(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("processes", situations, live=live)


@contextmanager
def at_work(stage: Stage, prelude: str = "", program: str = PROGRAM) -> Iterator[Target]:
    """A process on version 1 that has counted to 1, with version 2 installed."""
    stage.install(stage.build(LIBRARY, version=1))
    text = program.replace("PRELUDE", prelude)
    made = stage.program(text, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2))
        yield target


@processes("musl", live="refused: musl")
@pytest.mark.skipif(not has("musl-gcc"), reason="musl-gcc is not installed")
def test_a_program_on_musl_is_refused(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1, cc="musl-gcc"))
    text = PROGRAM.replace("PRELUDE", "")
    made = stage.program(text, "-include", str(stage.header), cc="musl-gcc")
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, version=2, cc="musl-gcc"))
        refused = stage.refused(target)
        assert refused.error == "NotSwappable"
        assert refused.reason.startswith("musl: its C library is musl")
        assert [target.ask(), target.ask()] == ["21", "31"]


@processes("static", "static-pie", live="refused: statically linked")
@pytest.mark.parametrize("linking", ["-static", "-static-pie"])
def test_a_statically_linked_program_is_refused(stage: Stage, linking: str) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.compiler.program(
        "int main(void) { ready(); while (asked()) answer(7); }\n",
        "-include", str(stage.header), linking,
    )  # fmt: skip
    with stage.running(made) as target:
        assert "the program is statically linked" in stage.refused(target).reason
        assert target.ask() == "7"


@processes("32-bit", live="refused: WrongProgramClass")
def test_a_32_bit_program_is_refused(stage: Stage) -> None:
    try:
        stage.install(stage.build(LIBRARY, "-m32", version=1))
    except AssertionError:
        pytest.skip("the compiler makes no 32-bit programs (gcc-multilib)")
    text = PROGRAM.replace("PRELUDE", "")
    made = stage.program(text, "-include", str(stage.header), "-m32")
    with stage.running(made) as target:
        assert target.ask() == "11"
        stage.install(stage.build(LIBRARY, "-m32", version=2))
        refused = stage.refused(target)
        assert (refused.error, refused.exit_code) == ("WrongProgramClass", 73)
        assert f"process {target.pid} runs a 32-bit program" in refused.reason
        assert [target.ask(), target.ask()] == ["21", "31"]


VFORKING = (
    "#include <unistd.h>\nint next(void);\nint main(void) { ready(); while (asked()) {"
    ' if (!strcmp(line, "vfork") && !vfork()) { char c; if (write(1, "in\\n", 3) != 3) _exit(1);'
    " _exit(read(0, &c, 1) != 1); } answer(next()); } }\n"
)


@processes("vfork child", live="refused: vfork-child, and its parent for the time")
def test_a_vfork_child_and_its_parent_are_refused_and_go_on(stage: Stage) -> None:
    with at_work(stage, program=VFORKING) as target:
        assert target.ask("vfork") == "in"
        (child,) = Path(f"/proc/{target.pid}/task/{target.pid}/children").read_text().split()
        blocked = stage.refused(target, wait=0.1)
        assert (blocked.error, blocked.exit_code) == ("ThreadUnstoppable", 61)
        assert f"thread {target.pid} of process {target.pid} (state D)" in blocked.reason
        refused = stage.refused(int(child))
        assert refused.reason.startswith("vfork-child: ")
        assert f"the memory of its parent, process {target.pid}" in refused.reason
        # Libswap, which is this very program, still lives: a thread that it held would hang now.
        assert target.ask() == "21"
        stage.moved(target)
        assert target.ask() == "32"


VFORKING_ASIDE = (
    "#include <pthread.h>\n#include <unistd.h>\nint next(void);\nstatic void *aside(void *p) {"
    ' if (!vfork()) { char c; if (write(1, "in\\n", 3) != 3) _exit(1); _exit(read(0, &c, 1) != 1);'
    ' } puts("out"); fflush(stdout); return p; }\nint main(void) { ready(); while (asked()) {'
    ' if (!strcmp(line, "vfork")) { pthread_t t; pthread_create(&t, 0, aside, 0);'
    " pthread_join(t, 0); } answer(next()); } }\n"
)


@processes("a thread that enters state D while it is being seized",
           live="refused: ThreadUnstoppable; it is let go at once")  # fmt: skip
def test_a_thread_that_entered_state_d_behind_our_back_is_let_go(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looked at it before it waited saw it asleep; the kernel alone can let it go."""
    with at_work(stage, program=VFORKING_ASIDE) as target:
        assert target.ask("vfork") == "in"
        while sorted(states(target.pid).values()) != ["D", "S"]:  # on their way to sleep
            time.sleep(0.001)
        seen = dict.fromkeys(states(target.pid), "S")
        with monkeypatch.context() as patch:
            patch.setattr("libswap.live.transaction.states", lambda _: seen)
            blocked = stage.refused(target, wait=0.1)
        assert blocked.error == "ThreadUnstoppable"
        assert [tracer(target.pid, tid) for tid in states(target.pid)] == [0, 0]
        # Libswap, which is this very program, still lives: a thread that it held would hang now.
        assert target.ask() == "out"
        assert target.line() == "21"
        stage.moved(target)
        assert target.ask() == "32"


@processes("frozen (cgroup v1, v2)", live="refused: its cgroup is frozen; goes on when thawed")
@pytest.mark.root
@pytest.mark.parametrize(
    ("base", "file", "frozen", "thawed"),
    [("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
     ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
     ("/sys/fs/cgroup", "cgroup.freeze", "1", "0")],
)  # fmt: skip
def test_a_frozen_process_is_refused_and_goes_on_when_thawed(
    stage: Stage, base: str, file: str, frozen: str, thawed: str
) -> None:
    group = Path(base) / f"libswap-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        if not (group / file).exists():
            pytest.skip(f"{base} freezes nothing")
        with at_work(stage) as target:
            (group / "cgroup.procs").write_text(str(target.pid))
            (group / file).write_text(frozen)
            try:
                _await_freeze(target)
                refused = stage.refused(target, wait=0.1)
                assert refused.exit_code == 61
                assert "its cgroup is frozen" in refused.reason
            finally:
                (group / file).write_text(thawed)
                (Path(base) / "cgroup.procs").write_text(str(target.pid))
            assert target.ask() == "21"
            stage.moved(target)
            assert target.ask() == "32"
    finally:
        group.rmdir()


def _await_freeze(target: Target) -> None:
    """A frozen process says nothing; its control group does."""
    deadline = time.monotonic() + 10
    while not frozen(target.pid):
        assert time.monotonic() < deadline


@processes("stopped by job control")
def test_a_stopped_process_is_moved_and_stays_stopped(stage: Stage) -> None:
    with at_work(stage) as target:
        os.kill(target.pid, signal.SIGSTOP)
        os.waitpid(target.pid, os.WUNTRACED)
        stage.moved(target)
        deadline = time.monotonic() + 10
        while state(target.pid, target.pid) != "T":  # on its way back into the stop
            assert time.monotonic() < deadline
        assert os.waitpid(target.pid, os.WUNTRACED | os.WCONTINUED | os.WNOHANG) == (0, 0)
        os.kill(target.pid, signal.SIGCONT)
        assert [target.ask(), target.ask()] == ["22", "32"]


@processes("zombie", live="skipped: it has ended")
def test_a_zombie_is_skipped(stage: Stage) -> None:
    with at_work(stage) as target:
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        outcome = stage.swap(child.pid)
        assert isinstance(outcome, Skipped)
        assert outcome.reason == f"process {child.pid} has ended"
        child.wait()
        assert target.ask() == "21"


MEDDLER = (
    "#include <sys/ptrace.h>\n#include <unistd.h>\nint main(int c, char **v) {"
    " if (ptrace(PTRACE_SEIZE, atoi(v[1]), 0, 0)) return 1; ready(); for (;;) pause(); }\n"
)


@processes("traced by another", live="refused: by whom; works when that has ended")
def test_a_traced_process_is_refused_and_its_tracer_named(stage: Stage) -> None:
    meddler = stage.compiler.program(MEDDLER, "-include", str(stage.header), name="meddler")
    with at_work(stage) as target:
        with running([meddler, str(target.pid)]) as tracer:
            refused = stage.refused(target)
            assert refused.error == "TracedByAnother"
            assert f"is traced by process {tracer.pid} (meddler)" in refused.reason
            assert target.ask() == "21"
        stage.moved(target)
        assert target.ask() == "32"


@processes("other user", live="refused: whom to be")
@pytest.mark.root
def test_another_users_process_is_refused(compiler: Compiler) -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        stage = Stage(compiler, Path(directory, "libscene.so"))
        with at_work(stage) as target:
            said = _as_nobody(lambda: stage.refused(target))
            assert said.error == "ProcessUnreadable"
            assert said.reason == f"process {target.pid} cannot be looked at: Permission denied"
            assert "Run as root, or as the user that" in said.instead
            assert target.ask() == "21"


def _as_nobody(work: Callable[[], Refused]) -> Refused:
    """In a child, as user 65534; not by another program, since Python may be root's alone."""
    get, put = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(put, json.dumps(asdict(work())).encode())
        finally:
            os._exit(0)
    os.close(put)
    with os.fdopen(get) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return Refused(**json.loads(text))


LIMITED = {
    "no-new-privs": "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)",
    "MemoryDenyWriteExecute": "prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0)",
    "mlockall": "if (mlockall(MCL_CURRENT | MCL_FUTURE)) return 9",
    "not dumpable": "prctl(PR_SET_DUMPABLE, 0)",
}


@processes(*LIMITED)
@pytest.mark.root
@pytest.mark.parametrize("kind", LIMITED)
def test_a_process_that_has_bound_itself_is_moved(stage: Stage, kind: str) -> None:
    with at_work(stage, LIMITED[kind]) as target:
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["22", "32"]


@processes("rlimits at their end (memory, files)", live="refused: ENOMEM, Too many open files")
def test_a_process_at_its_limit_of_memory_is_as_it_was_at_every_step(stage: Stage) -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with at_work(stage) as target:
        refused = 0
        for pages in (0, 4, 40, 60, 64, 66, 68, 70, 75, 80):
            used = int(Path(f"/proc/{target.pid}/statm").read_text().split()[0])
            limit = ((used + pages) * 4096, resource.RLIM_INFINITY)
            resource.prlimit(target.pid, resource.RLIMIT_AS, limit)
            outcome = stage.swap(target)
            resource.prlimit(target.pid, resource.RLIMIT_AS, unlimited)
            if not isinstance(outcome, Refused):
                break
            refused += 1
            assert outcome.error in ("RemoteCallRefused", "LoadFailed"), outcome
            assert target.ask() == str((refused + 1) * 10 + 1), pages
        assert refused >= 3
        resource.prlimit(target.pid, resource.RLIMIT_AS, unlimited)
        stage.swap(target)
        assert target.ask().endswith("2")


def test_a_process_without_a_free_descriptor_is_as_it_was(stage: Stage) -> None:
    full = (
        "struct rlimit r = {16, 64}; setrlimit(RLIMIT_NOFILE, &r);"
        ' while (open("/dev/null", O_RDONLY) >= 0)'
    )
    with at_work(stage, full) as target:
        refused = stage.refused(target)
        assert refused.error == "LoadFailed"
        assert "Too many open files" in refused.reason
        assert target.ask() == "21"
        resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (64, 64))
        stage.moved(target)
        assert target.ask() == "32"
        assert len(list(Path(f"/proc/{target.pid}/fd").iterdir())) == 16


STRICT = (
    "#include <linux/seccomp.h>\n#include <sys/prctl.h>\n#include <sys/syscall.h>\n"
    "#include <unistd.h>\nint next(void);\n"
    "int main(void) { char c, s[8]; next(); ready(); prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);"
    " while (read(0, &c, 1) == 1) { int n = next(); s[0] = '0' + n / 10; s[1] = '0' + n % 10;"
    " s[2] = '\\n'; if (write(1, s, 3) != 3) break; } syscall(SYS_exit, 0); }\n"
)


@processes("seccomp strict", live="refused: SeccompForbids")
def test_seccomp_strict_is_refused(stage: Stage) -> None:
    stage.install(stage.build(LIBRARY, version=1))
    made = stage.program(STRICT, "-include", str(stage.header))
    with stage.running(made) as target:
        assert target.ask() == "21"
        stage.install(stage.build(LIBRARY, version=2))
        refused = stage.refused(target)
        assert refused.error == "SeccompForbids"
        assert "strict mode allows read, write and exit alone" in refused.reason
        assert target.ask() == "31"


FILTERED = (
    "#include <linux/filter.h>\n#include <linux/seccomp.h>\n#include <stddef.h>\n"
    "#include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\nint next(void);\n"
    "#define ON(call, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, n, 0)\n"
    "int main(void) { ready(); asked(); answer(next()); struct sock_filter code[] = {"
    " BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),"
    " ON(openat, 4), ON(mmap, 3), ON(mprotect, 2), ON(memfd_create, 1),"
    " BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),"
    " BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};"
    " struct sock_fprog program = {sizeof code / sizeof *code, code};"
    " prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);"
    " while (asked()) answer(next()); }\n"
)


@processes("seccomp filter that kills")
@pytest.mark.root
def test_a_filter_that_kills_is_lifted_for_the_time_of_the_swap(stage: Stage) -> None:
    with at_work(stage, program=FILTERED) as target:
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["22", "32"]


@pytest.mark.scenario("loading", ("the C library, the dynamic linker",), live="refused: c-library")
@pytest.mark.parametrize("name", ["libc.so.6", "ld-linux-x86-64.so.2"])
def test_parts_of_the_c_library_are_refused(stage: Stage, tmp_path: Path, name: str) -> None:
    with at_work(stage) as target:
        path = Path(next(m.path for m in target.modules() if m.path.endswith(f"/{name}")))
        other = tmp_path / name
        shutil.copy(path, other)
        build_id = next(m.facts.build_id for m in target.modules() if m.path == str(path))
        content = other.read_bytes()
        mark = bytes.fromhex(build_id)
        assert mark in content
        other.write_bytes(content.replace(mark, mark[::-1]))
        report = swap_library(Request(path, other, pids=(target.pid,)))
        (result,) = report.processes
        assert isinstance(result.outcome, Refused), result
        assert "c-library" in result.outcome.reason
        assert target.ask() == "21"


@pytest.mark.scenario("loading", ("newer GLIBC version",), live="refused: the linker's own words")
def test_a_library_for_a_newer_c_library_is_refused(stage: Stage, tmp_path: Path) -> None:
    source = LIBRARY + 'int puts(const char *);\nint say(void) { return puts("x"); }\n'
    with at_work(stage) as target:
        content = stage.build(source, version=2).read_bytes()
        for name, other in ((b"GLIBC_2.2.5", b"GLIBC_9.2.5"),):
            content = content.replace(name, other)
            content = content.replace(_hash(name), _hash(other))
        made = tmp_path / "newer.so"
        made.write_bytes(content)
        stage.install(made)
        assert "version `GLIBC_9.2.5' not found" in stage.refused(target, force=True).reason
        assert target.ask() == "21"


def _hash(name: bytes) -> bytes:
    """vna_hash: the ELF hash of a version's name."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return value.to_bytes(4, "little")
