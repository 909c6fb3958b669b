import os
import shutil
import time
from pathlib import Path

import pytest

from libswap.linux.files import FileId
from libswap.scan.scanner import Scan, scan
from libswap.scan.stale import Deleted, Overwritten, Replaced, State, Superseded
from libswap.scan.superseded import Record
from libswap.scan.usage import users_of
from libswap.scan.use import Use
from support.compiler import Compiler
from support.holders import COUNTER, Held, hold, holder

pytestmark = pytest.mark.compiler


FORKER = """
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words)
{
    char line[4096];
    if (count < 2 || !dlopen(words[1], RTLD_NOW)) return 1;
    puts("ready"); fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\\n")] = 0;
        int child = -1;
        if (strncmp(line, "load ", 5) == 0)
            child = dlopen(line + 5, RTLD_NOW) ? 0 : -1;
        else if ((child = fork()) == 0) {
            fclose(stdin); fclose(stdout); pause(); _exit(0);
        }
        printf("%d\\n", child); fflush(stdout);
    }
    return 0;
}
"""
"""Loads a library, then does what it is told: loads another, or forks a worker."""


def _tell(held: Held, word: str) -> str:
    assert held.process.stdin
    assert held.process.stdout
    held.process.stdin.write(f"{word}\n")
    held.process.stdin.flush()
    return held.process.stdout.readline().strip()


def _uses(found: Scan, pid: int) -> dict[str, Use]:
    users = [u for group in found.groups for u in group.users]
    everyone = [*users, *found.same_build, *found.undecided]
    return {use.path: use for u in everyone if u.process.identity.pid == pid for use in u.uses}


def _state(found: Scan, pid: int, path: Path) -> State | None:
    use = _uses(found, pid).get(str(path))
    return None if use is None else use.state


@pytest.fixture
def program(compiler: Compiler) -> Path:
    return holder(compiler)


@pytest.fixture
def library(compiler: Compiler, tmp_path: Path) -> Path:
    built = compiler.library(COUNTER, "-Wl,--build-id=0xaa01", soname="libcounter.so.1")
    return Path(shutil.copy(built, tmp_path / "libcounter.so.1"))


@pytest.fixture
def newer(compiler: Compiler, tmp_path: Path) -> Path:
    """Another build, whose relocated words differ too."""
    text = COUNTER.replace('"one"', '"a much longer word to begin with"')
    built = compiler.library(text, "-Wl,--build-id=0xaa02", soname="libcounter.so.1")
    return Path(shutil.copy(built, tmp_path / ".newer"))


@pytest.fixture
def same_layout(compiler: Compiler, tmp_path: Path) -> Path:
    """Another build, which differs in one instruction."""
    text = COUNTER.replace("++count", "--count")
    built = compiler.library(text, "-Wl,--build-id=0xaa03", soname="libcounter.so.1")
    return Path(shutil.copy(built, tmp_path / ".same"))


def _in_place(source: Path, target: Path, *, truncate: bool = False) -> None:
    with target.open("wb" if truncate else "r+b") as file:
        file.write(source.read_bytes())


def test_what_is_current_is_not_reported(program: Path, library: Path) -> None:
    with hold(program, "dlopen", library) as held:
        found = scan()
    assert _uses(found, held.pid) == {}
    assert found.processes > 1


def test_a_replaced_library_is_reported_with_both_builds(
    program: Path, library: Path, newer: Path
) -> None:
    with hold(program, "dlopen", library) as held:
        newer.rename(library)
        use = _uses(scan(), held.pid)[str(library)]
    assert isinstance(use.state, Replaced)
    assert (use.stale, use.running_build_id, use.disk_build_id) == (True, "aa01", "aa02")
    assert use.state.since is not None


def test_the_same_build_put_there_anew_needs_no_restart(
    program: Path, library: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copy(library, tmp_path / ".again"))
    with hold(program, "dlopen", library) as held:
        again.rename(library)
        found = scan()
    assert [u.process.identity.pid for u in found.same_build if u.process.identity.pid == held.pid]
    assert not _uses(found, held.pid)[str(library)].stale


def test_a_deleted_library_is_reported_and_a_deleted_file_that_is_none_is_not(
    program: Path, library: Path, tmp_path: Path
) -> None:
    text = tmp_path / "generated-code"
    text.write_bytes(b"\xc3" * 8192)
    with hold(program, "dlopen", library, "code", text) as held:
        library.unlink()
        text.unlink()
        uses = _uses(scan(), held.pid)
    assert isinstance(uses[str(library)].state, Deleted)
    assert list(uses) == [str(library)]


def test_shared_memory_is_no_library(program: Path, library: Path) -> None:
    memory = Path("/dev/shm") / f"libswap-test-{os.getpid()}.so"
    shutil.copy(library, memory)
    try:
        with hold(program, "dlopen", memory) as held:
            memory.unlink()
            assert _uses(scan(), held.pid) == {}
    finally:
        memory.unlink(missing_ok=True)


def test_a_program_that_was_replaced_is_reported_too(program: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(program, tmp_path / "daemon"))
    with hold(own) as held:
        own.unlink()
        assert isinstance(_state(scan(), held.pid, own), Deleted)


def test_a_link_that_moved_to_another_version_leaves_the_old_one_superseded(
    program: Path, library: Path, newer: Path, tmp_path: Path
) -> None:
    old = library.rename(tmp_path / "libcounter.so.1.0")
    new = newer.rename(tmp_path / "libcounter.so.1.1")
    library.symlink_to(old.name)
    with hold(program, "dlopen", library) as early:
        flip = tmp_path / ".flip"
        flip.symlink_to(new.name)
        flip.rename(library)
        with hold(program, "dlopen", old) as late:
            found = scan()
    use = _uses(found, early.pid)[str(old)]
    assert isinstance(use.state, Superseded)
    assert (use.running_build_id, use.disk_build_id, use.stale) == ("aa01", "aa02", True)
    assert _state(found, late.pid, old) is None, "it chose the old file after the flip"


def test_a_library_kept_as_a_backup_beside_the_new_one_is_superseded(
    program: Path, library: Path, newer: Path
) -> None:
    with hold(program, "dlopen", library) as held:
        backup = library.rename(library.with_name("libcounter.so.1.bak"))
        newer.rename(library)
        assert isinstance(_state(scan(), held.pid, backup), Superseded)


@pytest.mark.parametrize("suffix", ["~", ".~1~", ".old"])
def test_a_backup_beside_the_real_file_of_a_link_is_superseded(
    program: Path, library: Path, newer: Path, tmp_path: Path, suffix: str
) -> None:
    real = library.rename(tmp_path / "libcounter.so.1.0")
    library.symlink_to(real.name)
    with hold(program, "dlopen", library) as held:
        backup = real.rename(f"{real}{suffix}")
        newer.rename(real)
        assert isinstance(_state(scan(), held.pid, backup), Superseded)


def test_a_backup_of_a_library_that_no_soname_leads_to_is_superseded(
    compiler: Compiler, program: Path, newer: Path, tmp_path: Path
) -> None:
    plugin = Path(shutil.copy(compiler.library(COUNTER), tmp_path / "plugin.so"))
    with hold(program, "dlopen", plugin) as early:
        backup = plugin.rename(f"{plugin}~")
        newer.rename(plugin)
        with hold(program, "dlopen", backup) as late:
            found = scan()
    assert isinstance(_state(found, early.pid, backup), Superseded)
    assert _state(found, late.pid, backup) is None, "it chose the backup"


def test_a_directory_is_not_what_a_backup_was_made_of(
    compiler: Compiler, program: Path, tmp_path: Path
) -> None:
    plugin = Path(shutil.copy(compiler.library(COUNTER), tmp_path / "plugin"))
    with hold(program, "dlopen", plugin) as held:
        backup = plugin.rename(f"{plugin}.old")
        plugin.mkdir()
        assert _state(scan(), held.pid, backup) is None


def test_a_library_kept_elsewhere_is_found_by_the_record_of_its_replacement(
    compiler: Compiler,
    program: Path,
    newer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = compiler.library(COUNTER, "-Wl,--build-id=0xaa01")
    library = Path(shutil.copy(built, tmp_path / "plugin.so"))
    kept = tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    with hold(program, "dlopen", "./plugin.so") as held:  # a name that says nothing elsewhere
        record = Record(str(library), FileId.of(library.stat()), time.time(), None, "aa01")
        library.rename(kept)
        newer.rename(library)
        assert _state(scan(), held.pid, kept) is None
        assert isinstance(_state(scan([record]), held.pid, kept), Superseded)
        kept.rename(library)
        assert _state(scan([record]), held.pid, library) is None, "it was rolled back"


@pytest.mark.ptrace
def test_a_library_moved_to_any_name_is_found_by_the_name_it_was_loaded_as(
    compiler: Compiler, program: Path, newer: Path, tmp_path: Path
) -> None:
    built = compiler.library(COUNTER, "-Wl,--build-id=0xaa01", soname="libcounter.so.1")
    real = Path(shutil.copy(built, tmp_path / "libcounter.so.1.0"))
    library = tmp_path / "libcounter.so.1"
    library.symlink_to(real.name)
    elsewhere = tmp_path / "attic" / "whatever.xyz"
    elsewhere.parent.mkdir()
    with hold(program, "dlopen", library) as early:
        real.rename(elsewhere)
        assert _state(scan(), early.pid, elsewhere) is None, "nothing else has the name"
        newer.rename(real)
        with hold(program, "dlopen", elsewhere) as late:
            found = scan()
        use = _uses(found, early.pid)[str(elsewhere)]
        named = users_of([elsewhere]).users
        elsewhere.rename(real)
        assert _state(scan(), early.pid, real) is None, "it was put back"
    assert isinstance(use.state, Superseded)
    assert (use.state.by, use.stale, use.disk_build_id) == (str(library), True, "aa02")
    assert _state(found, late.pid, elsewhere) is None, "it was loaded by that name"
    assert [isinstance(u.uses[0].state, Superseded) for u in named] == [True]


@pytest.mark.ptrace
def test_a_jail_is_asked_for_the_name_that_it_knows(
    program: Path, library: Path, newer: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("chroot is for root")
    with hold(program, "chroot", tmp_path, "dlopen", f"/{library.name}") as held:
        library.rename(tmp_path / "kept")
        newer.rename(library)
        use = _uses(scan(), held.pid)["/kept"]
    assert isinstance(use.state, Superseded)
    assert use.state.by == f"/{library.name}"


@pytest.mark.ptrace
def test_an_overwrite_in_place_is_proved_by_what_the_dynamic_linker_had_written(
    program: Path, library: Path, newer: Path
) -> None:
    with hold(program, "dlopen", library) as held:
        _in_place(newer, library)
        os.utime(library, (1, 1))  # as rsync -t does: the modification time tells nothing
        state = _state(scan(), held.pid, library)
    assert isinstance(state, Overwritten)
    assert state.certain
    assert "words" in state.evidence


def test_an_overwrite_in_place_with_the_same_layout_is_told_by_its_time(
    program: Path, library: Path, same_layout: Path
) -> None:
    with hold(program, "dlopen", library) as held:
        _in_place(same_layout, library)
        state = _state(scan(), held.pid, library)
    assert isinstance(state, Overwritten)
    assert not state.certain


def test_a_library_cut_short_under_a_process_is_reported_before_it_dies(
    program: Path, library: Path, tmp_path: Path
) -> None:
    short = tmp_path / "junk"
    short.write_text("junk\n")
    with hold(program, "code", library) as held:
        _in_place(short, library, truncate=True)
        state = _state(scan(), held.pid, library)
    assert isinstance(state, Overwritten)
    assert "bytes long now" in state.evidence


def test_a_modification_time_to_come_is_not_believed(
    program: Path, library: Path, tmp_path: Path
) -> None:
    short = tmp_path / "junk"
    short.write_text("junk\n")
    with hold(program, "code", library) as held:
        _in_place(short, library, truncate=True)
        os.utime(library, (1, 1 << 33))  # its owner can set any
        state = _state(scan(), held.pid, library)
    assert isinstance(state, Overwritten)
    assert state.since < time.time() + 60


def test_attributes_that_change_are_no_overwrite(program: Path, library: Path) -> None:
    with hold(program, "dlopen", library) as held:
        library.chmod(0o600)
        os.link(library, library.with_name("another-name"))
        assert _uses(scan(), held.pid) == {}


def test_a_library_made_after_the_process_and_loaded_then_is_no_overwrite(
    compiler: Compiler, library: Path, same_layout: Path, tmp_path: Path
) -> None:
    """The process is older than the file: it can only have loaded it as it is."""
    late = tmp_path / "late.so"
    with hold(compiler.program(FORKER, "-ldl", name="forker"), library) as held:
        shutil.copy(same_layout, late)
        _tell(held, f"load {late}")
        assert str(late) in Path(f"/proc/{held.pid}/maps").read_text()
        assert _uses(scan(), held.pid) == {}


@pytest.mark.ptrace
def test_a_worker_forked_after_the_overwrite_is_as_stale_as_its_parent(
    compiler: Compiler, library: Path, same_layout: Path
) -> None:
    with hold(compiler.program(FORKER, "-ldl", name="forker"), library) as held:
        _in_place(same_layout, library)
        worker = int(_tell(held, "fork"))
        found = scan()
        os.kill(worker, 15)
    assert isinstance(_state(found, held.pid, library), Overwritten)
    assert isinstance(_state(found, worker, library), Overwritten)


def test_a_process_whose_first_thread_has_ended_is_looked_at_all_the_same(
    compiler: Compiler, library: Path
) -> None:
    text = """
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void *stay(void *leader)
{
    char path[64], stat[512] = "";
    pthread_join(*(pthread_t *)leader, NULL);
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    while (!strstr(stat, ") Z")) {
        FILE *file = fopen(path, "r");
        if (file) { fgets(stat, sizeof stat, file); fclose(file); }
    }
    puts("ready"); fflush(stdout);
    while (getchar() != EOF) {}
    _exit(0);
}
int main(int count, char **words)
{
    static pthread_t leader, other;
    if (count < 2 || !dlopen(words[1], RTLD_NOW)) return 1;
    leader = pthread_self();
    pthread_create(&other, NULL, stay, &leader);
    pthread_exit(NULL);
}
"""
    program = compiler.program(text, "-ldl", "-pthread", name="leaderless")
    with hold(program, library) as held:
        (thread,) = (
            int(t.name) for t in Path(f"/proc/{held.pid}/task").iterdir() if int(t.name) != held.pid
        )
        library.unlink()
        assert isinstance(_state(scan(), thread, library), Deleted)
        assert [u.process.identity.pid for u in users_of([library]).users] == [thread]
