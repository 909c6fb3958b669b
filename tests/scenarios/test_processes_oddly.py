"""Processes in odd surroundings and of odd making."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libswap.errors.process import ShadowStackActive, TracingForbidden, WrongProgramClass
from libswap.linux import ptrace
from libswap.live import refusal
from libswap.process.identity import Identity
from support.compiler import Compiler
from support.debian import Debian, Unavailable, cache_dir, version_of
from support.driven import Target, running
from support.swapping import Stage

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

LIBRARY = "static int n;\nint next(void) { return ++n * 10 + VERSION; }\n"
INCLUDE = "".join(
    f"#include <{name}.h>\n"
    for name in ("fcntl", "pthread", "sched", "sys/mman", "sys/mount", "sys/syscall", "sys/wait",
                 "time", "unistd", "dlfcn", "stdatomic")
)  # fmt: skip
PROGRAM = INCLUDE + (
    "int next(void);\nstatic atomic_long turns;\nstatic void *work(void *p) { for (;;) { WORK;"
    " turns++; } }\nint main(int c, char **v) { PRELUDE; ready();"
    " while (asked()) answer(next()); }\n"
)
IN_A_THREAD = "pthread_t t; pthread_create(&t, 0, work, 0); PIN; while (!turns) sched_yield()"


@pytest.fixture
def stage(compiler: Compiler, tmp_path: Path) -> Stage:
    return Stage(compiler, tmp_path / "libscene.so")


def processes(*situations: str, live: str = "works") -> pytest.MarkDecorator:
    return pytest.mark.scenario("processes", situations, live=live)


@contextmanager
def at_work(
    stage: Stage, *words: str, prelude: str = "", work: str = "", library: str = LIBRARY
) -> Iterator[Target]:
    """A process on version 1 that has counted to 1, with version 2 installed."""
    stage.install(stage.build(library, version=1))
    text = PROGRAM.replace("PRELUDE", prelude).replace("WORK", work or "pause()")
    made = stage.program(text, "-include", str(stage.header), "-pthread")
    with stage.running(made, *words) as target:
        assert target.ask() == "11"
        stage.install(stage.build(library, version=2))
        yield target


PINNED = IN_A_THREAD.replace(
    "PIN", "cpu_set_t one; CPU_ZERO(&one); CPU_SET(0, &one); pthread_setaffinity_np(t, sizeof one,"
    " &one); struct sched_param p = {50}; if (pthread_setschedparam(t, SCHED_FIFO, &p)) return 9",
)  # fmt: skip
BUSY = "struct timespec s = {0, 200000}; for (volatile int i = 0; i < 10000; i++); nanosleep(&s, 0)"
HUGE = (
    "char *m = mmap(0, 8 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);"
    " madvise(m, 8 << 20, MADV_HUGEPAGE); memset(m, 1, 8 << 20)"
)
ASKING = IN_A_THREAD.replace("PIN", "")
CANCELLED = "pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, 0); getppid()"
SURROUNDINGS = {
    "user namespace": ("if (unshare(CLONE_NEWUSER)) return 9", ""),
    "CPU-pinned real-time threads": (PINNED, BUSY),
    "vsyscall and vdso use": (ASKING, "struct timespec s; clock_gettime(CLOCK_MONOTONIC, &s)"),
    "huge pages": (HUGE, ""),
    "async cancellation enabled": (ASKING, CANCELLED),
}


@processes(*SURROUNDINGS)
@pytest.mark.root
@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_a_process_in_such_surroundings(stage: Stage, kind: str) -> None:
    prelude, work = SURROUNDINGS[kind]
    with at_work(stage, prelude=prelude, work=work) as target:
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["22", "32"]


@processes("PID namespace")
@pytest.mark.namespaces
def test_a_process_that_knows_itself_by_another_number(stage: Stage) -> None:
    prelude = (
        "if (unshare(CLONE_NEWPID)) return 9; pid_t inner = fork();"
        " if (inner) { int s; waitpid(inner, &s, 0); return 0; } if (getpid() != 1) return 8"
    )
    with at_work(stage, prelude=prelude) as target:
        (inner,) = Path(f"/proc/{target.pid}/task/{target.pid}/children").read_text().split()
        stage.moved(int(inner))
        assert [target.ask(), target.ask()] == ["22", "32"]


@processes("chroot", live="works where the path is the same in it or it has /proc, else refused")
@pytest.mark.root
@pytest.mark.parametrize("visible", [True, False])
def test_a_process_in_another_root(stage: Stage, tmp_path: Path, *, visible: bool) -> None:
    root = tmp_path / "root"
    inside = Path(f"{root}{tmp_path}")
    inside.mkdir(parents=True)
    prelude = "if (chroot(v[1]) || chdir(v[2])) return 9"
    with at_work(stage, str(root), str(tmp_path), prelude=prelude) as target:
        if visible:
            (inside / stage.place.name).hardlink_to(stage.place)
            stage.moved(target)
            assert target.ask() == "22"
        else:
            assert "no /proc in its root" in stage.refused(target).reason
            assert target.ask() == "21"


def without_sections(file: Path, place: Path) -> Path:
    """A copy that tells nothing by section headers (e_shoff, e_shnum, e_shstrndx of 0)."""
    content = bytearray(file.read_bytes())
    struct.pack_into("<Q", content, 40, 0)
    struct.pack_into("<HH", content, 60, 0, 0)
    place.write_bytes(content)
    place.chmod(0o755)
    return place


@processes("no section headers")
def test_files_without_section_headers(stage: Stage, tmp_path: Path) -> None:
    source = "int next(void) { return 10 + VERSION; }\n"
    builds = [
        without_sections(stage.build(source, version=v), tmp_path / f"bare{v}") for v in (1, 2)
    ]
    stage.install(stage.build(source, version=1))
    text = PROGRAM.replace("PRELUDE", "").replace("WORK", "")
    made = stage.program(text, "-include", str(stage.header), "-pthread")
    stage.install(builds[0])
    with stage.running(without_sections(made, tmp_path / "bare")) as target:
        assert target.ask() == "11"
        stage.install(builds[1])
        stage.moved(target)
        assert target.ask() == "12"


@processes("started by the dynamic linker's own name", "other glibc (2.31, 2.41)",
           live="works; before 2.34 where libdl is loaded")  # fmt: skip
@pytest.mark.parametrize("suite", ["bullseye", "trixie"])
def test_a_process_on_another_c_library(stage: Stage, suite: str) -> None:
    try:
        tree = Debian(cache_dir()).package("libc6", suite)
    except Unavailable as error:
        pytest.skip(str(error))
    libraries = tree / ("lib" if suite == "bullseye" else "usr/lib") / "x86_64-linux-gnu"
    loader = libraries / ("ld-2.31.so" if suite == "bullseye" else "ld-linux-x86-64.so.2")
    stage.install(stage.build(LIBRARY, version=1))
    # Without the start files of this machine's C library, which ask for its own versions.
    plain = (
        "int next(void);\n__attribute__((force_align_arg_pointer)) void _start(void) {"
        " ready(); while (asked()) answer(next()); exit(0); }\n"
    )
    made = stage.program(plain, "-include", str(stage.header), "-nostartfiles",
                         "-Wl,--no-as-needed", "-l:libdl.so.2")  # fmt: skip
    words = [loader, "--library-path", libraries, made]
    with running(words) as target:
        assert target.ask() == "11", version_of(tree)
        stage.install(stage.build(LIBRARY, version=2))
        stage.moved(target)
        assert [target.ask(), target.ask()] == ["22", "32"]


# What this machine's kernel may not have is shown with its answers in its place.


@processes("x32", live="refused: WrongProgramClass (by the file's header)")
def test_an_x32_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, 62)
    program = tmp_path / "7" / "exe"
    program.parent.mkdir()
    program.write_bytes(header.ljust(64, b"\0"))
    monkeypatch.setattr(refusal, "PROC", type(refusal.PROC)(str(tmp_path)))
    with pytest.raises(WrongProgramClass) as caught:
        refusal.require_class(7)
    assert caught.value.program_class == "x32"


@processes("ptrace_scope 1 to 3", live="refused: TracingForbidden, with what would allow it")
@pytest.mark.parametrize(
    ("scope", "words"), [(3, "Yama forbids all tracing"), (1, "Yama allows it to root only")]
)
def test_where_yama_forbids_tracing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, scope: int, words: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with at_work(stage) as target:
        own = refusal._status("self") | {"CapEff": "0"}
        status = refusal._status
        with monkeypatch.context() as patch:
            patch.setattr(ptrace, "seize", refuse)
            patch.setattr(refusal, "_yama_scope", lambda: scope)
            patch.setattr(refusal, "_status", lambda pid: own if pid == "self" else status(pid))
            with pytest.raises(TracingForbidden) as caught:
                refusal.require_fit(Identity.of(target.pid))
        assert words in caught.value.message
        assert target.ask() == "21"


@processes("user shadow stack", live="refused: ShadowStackActive")
def test_a_process_with_a_shadow_stack(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_work(stage) as target:
        status = refusal._status
        with monkeypatch.context() as patch:
            patch.setattr(
                refusal, "_status", lambda pid: status(pid) | {"x86_Thread_features": "shstk"}
            )
            with pytest.raises(ShadowStackActive):
                refusal.require_fit(Identity.of(target.pid))
        assert target.ask() == "21"
