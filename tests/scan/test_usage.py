import os
import shutil
from pathlib import Path

import pytest

from libswap.errors.base import SystemRefused
from libswap.linux.files import FileId
from libswap.linux.procfs import Procfs
from libswap.scan.loading import Data, Needed, Opened, Program
from libswap.scan.scanner import scan
from libswap.scan.stale import Current, Deleted, Replaced
from libswap.scan.usage import Usage, User, users_of
from support.compiler import Compiler
from support.holders import COUNTER, hold, holder

pytestmark = pytest.mark.compiler


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(exist_ok=True)
    shutil.copy(source, target)
    return target


@pytest.fixture
def library(compiler: Compiler, tmp_path: Path) -> Path:
    built = compiler.library(COUNTER, "-Wl,--build-id=0xaa01", soname="libcounter.so.1")
    return _copy(built, tmp_path / "libcounter.so.1")


@pytest.fixture
def newer(compiler: Compiler) -> Path:
    return compiler.library(COUNTER, "-Wl,--build-id=0xaa02", soname="libcounter.so.1")


def _one(usage: Usage, pid: int) -> User:
    (user,) = [u for u in usage.users if u.process.identity.pid == pid]
    return user


def test_who_opened_a_library_is_found_by_its_path(compiler: Compiler, library: Path) -> None:
    with hold(holder(compiler), "dlopen", library) as held:
        user = _one(users_of([library]), held.pid)
    (use,) = user.uses
    assert (use.path, use.file, use.state) == (str(library), FileId.of(library.stat()), Current())
    assert (use.loaded, use.stale, use.running_build_id) == (Opened(), False, "aa01")
    assert user.process.command[1:] == ("dlopen", str(library))
    assert user.process.uid == os.getuid()
    assert use.ranges


def test_a_hard_link_and_a_symbolic_link_are_the_same_file(
    compiler: Compiler, library: Path, tmp_path: Path
) -> None:
    hard, soft = tmp_path / "other-name", tmp_path / "soft.so"
    os.link(library, hard)
    soft.symlink_to(library.name)
    with hold(holder(compiler), "dlopen", library) as held:
        for asked in (hard, soft, FileId.of(library.stat())):
            assert _one(users_of([asked]), held.pid).uses[0].path == str(library)


def test_a_path_finds_who_still_runs_the_file_it_led_to_before(
    compiler: Compiler, library: Path, newer: Path
) -> None:
    old = FileId.of(library.stat())
    with hold(holder(compiler), "dlopen", library) as held:
        library.unlink()
        (use,) = _one(users_of([library]), held.pid).uses
        assert isinstance(use.state, Deleted)
        _copy(newer, library)
        (use,) = _one(users_of([library]), held.pid).uses
        assert isinstance(use.state, Replaced)
        assert use.state.by == FileId.of(library.stat())
        assert (use.running_build_id, use.disk_build_id, use.stale) == ("aa01", "aa02", True)
        if os.geteuid() == 0:
            assert use.file == old


def test_a_process_that_maps_nothing_of_it_is_no_user(compiler: Compiler, library: Path) -> None:
    with hold(holder(compiler)) as held:
        usage = users_of([library])
    assert held.pid not in [u.process.identity.pid for u in usage.users]
    assert usage.processes > 1


def test_a_file_mapped_only_to_be_read_is_used_as_data(compiler: Compiler, library: Path) -> None:
    with hold(holder(compiler), "data", library) as held:
        assert _one(users_of([library]), held.pid).uses[0].loaded == Data()


def test_the_module_that_needs_a_library_is_named(
    compiler: Compiler, library: Path, tmp_path: Path
) -> None:
    text = "const char *word(int);\nconst char *again(void) { return word(1); }\n"
    built = compiler.library(
        text, "-Wl,--no-as-needed", f"-L{library.parent}", f"-l:{library.name}",
        f"-Wl,-rpath,{library.parent}", name="libuser.so",
    )  # fmt: skip
    plugin = _copy(built, tmp_path / "libuser.so")
    with hold(holder(compiler), "dlopen", plugin) as held:
        assert _one(users_of([library]), held.pid).uses[0].loaded == Needed((str(plugin),))
        assert _one(users_of([holder(compiler)]), held.pid).uses[0].loaded == Program()


@pytest.mark.parametrize(
    "name",
    ["lib two  blanks .so ", "lib\nnewline.so", r"lib\012octal.so", "libgone.so (deleted)",
     "lib\x1b[31mred.so", os.fsdecode(b"lib\xff.so"), "-rf", "libü.so"],
)  # fmt: skip
def test_a_name_of_any_kind_is_found_before_and_after_its_replacement(
    compiler: Compiler, library: Path, newer: Path, name: str
) -> None:
    strange = library.rename(library.parent / name)
    with hold(holder(compiler), "dlopen", strange) as held:
        (use,) = _one(users_of([strange]), held.pid).uses
        assert (use.path, use.state) == (str(strange), Current())
        staged = _copy(newer, library.parent / "staged")
        staged.rename(strange)
        (use,) = _one(users_of([strange]), held.pid).uses
        assert isinstance(use.state, Replaced)


def test_a_name_that_ends_in_deleted_is_not_taken_for_the_file_without(
    compiler: Compiler, library: Path
) -> None:
    """A file whose name truly ends so, beside one of the name without: both are current."""
    twin = _copy(library, library.parent / f"{library.name} (deleted)")
    with hold(holder(compiler), "dlopen", library, "dlopen", twin) as held:
        states = {use.path: use.state for use in _one(users_of([library, twin]), held.pid).uses}
    assert states == {str(library): Current(), str(twin): Current()}


def test_what_may_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "maps").symlink_to("maps")  # ELOOP, as good as any refusal
    (tmp_path / "7" / "comm").write_text("secret\n")
    (missed,) = users_of(["/lib/x.so"], procfs=Procfs(str(tmp_path))).uninspected
    assert (missed.pid, missed.command) == (7, "secret")
    assert missed.reason


def test_where_proc_is_not_mounted_nothing_is_said_of_processes(tmp_path: Path) -> None:
    with pytest.raises(SystemRefused, match="mount -t proc"):
        users_of(["/lib/x.so"], procfs=Procfs(str(tmp_path)))
    with pytest.raises(SystemRefused, match="mount -t proc"):
        scan(procfs=Procfs(str(tmp_path)))


def test_a_bare_name_finds_the_versions_of_a_library_wherever_they_lie(
    compiler: Compiler, library: Path
) -> None:
    versioned = library.rename(library.with_name("libcounter.so.1.0"))
    with hold(holder(compiler), "dlopen", versioned) as held:
        for asked in ("libcounter.so.1", "libcounter.so.1.0"):
            usage = users_of([asked])
            assert _one(usage, held.pid).uses[0].path == str(versioned)
            assert usage.unused == ()
        assert users_of(["libcounter.so.2"]).unused == ("libcounter.so.2",)


def test_a_file_in_a_directory_that_is_gone_is_found_by_its_path(
    compiler: Compiler, library: Path, tmp_path: Path
) -> None:
    inside = tmp_path / "release-1" / "libcounter.so.1"
    _copy(library, inside)
    with hold(holder(compiler), "dlopen", inside) as held:
        shutil.rmtree(inside.parent)
        (use,) = _one(users_of([inside]), held.pid).uses
    assert isinstance(use.state, Deleted)
