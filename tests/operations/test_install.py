import os
import re
import stat
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from libswap.errors.base import InvalidElf, UsageError
from libswap.errors.install import (
    DestinationChanged,
    DestinationProtected,
    HardLinked,
    Incompatible,
    LockHeld,
    MountPoint,
    NotReplaceable,
    SameFile,
    SonameIsFile,
    SourceChanged,
    SourceUnreadable,
    Untrusted,
    WrongMachine,
)
from libswap.install.exclusion import alone_in
from libswap.install.history import Outcome
from libswap.install.state import locked
from libswap.install.transaction import Strategy
from libswap.linux.files import Directory
from libswap.operations import install
from libswap.report.views.install import render
from support.compiler import Compiler, has
from support.holders import hold, holder
from support.site import Site, library, untouched

pytestmark = pytest.mark.compiler


@pytest.mark.parametrize("strategy", Strategy)
def test_the_file_behind_a_chain_of_links_is_replaced_and_the_chain_stays(
    compiler: Compiler, site: Site, strategy: Strategy
) -> None:
    old, new = library(compiler, 1), library(compiler, 2)
    real = site.place(old, "libx.so.1.1", "libx.so.1", "libx.so")
    before = real.stat()
    done = site.install(new, to=site.lib / "libx.so", strategy=strategy)
    assert done.operation is not None
    assert done.operation.outcome is Outcome.DONE
    assert real.read_bytes() == new.read_bytes()
    assert real.stat().st_ino != before.st_ino
    assert site.names() == ["libx.so", "libx.so.1", "libx.so.1.1"]
    assert (site.lib / "libx.so").readlink() == Path("libx.so.1")


def test_the_old_inode_keeps_its_bytes_and_stays_deleted_for_who_has_it_open(
    compiler: Compiler, site: Site
) -> None:
    old = library(compiler, 1)
    real = site.place(old, "libx.so.1")
    with real.open("rb") as held:
        site.install(library(compiler, 2), to=real)
        assert Path(f"/proc/self/fd/{held.fileno()}").readlink() == Path(f"{real} (deleted)")
        assert held.read() == old.read_bytes()
        assert os.fstat(held.fileno()).st_nlink == 1, "the store's link"


def test_without_dereference_the_link_itself_becomes_the_library(
    compiler: Compiler, site: Site
) -> None:
    old, new = library(compiler, 1), library(compiler, 2)
    real = site.place(old, "libx.so.1.1", "libx.so.1")
    site.install(new, to=site.lib / "libx.so.1", dereference=False)
    assert not (site.lib / "libx.so.1").is_symlink()
    assert (site.lib / "libx.so.1").read_bytes() == new.read_bytes()
    assert real.read_bytes() == old.read_bytes()
    site.rollback()
    assert (site.lib / "libx.so.1").readlink() == Path("libx.so.1.1")


def test_a_new_version_stands_beside_the_old_and_the_soname_link_moves(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    old = library(compiler, 1)
    real = site.place(old, "libx.so.1.1", "libx.so.1", "libx.so")
    real.chmod(0o640)
    new = tmp_path / "libx.so.1.2"
    new.write_bytes(library(compiler, 2).read_bytes())
    site.install(new)
    assert site.names() == ["libx.so", "libx.so.1", "libx.so.1.1", "libx.so.1.2"]
    assert (site.lib / "libx.so.1").readlink() == Path("libx.so.1.2")
    assert stat.S_IMODE((site.lib / "libx.so.1.2").stat().st_mode) == 0o640
    site.rollback(str(site.lib / "libx.so.1.2"))
    assert site.names() == ["libx.so", "libx.so.1", "libx.so.1.1"]
    assert (site.lib / "libx.so.1").readlink() == Path("libx.so.1.1")


def test_a_library_that_is_new_gets_its_soname_link_and_is_readable_by_all(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    site.lib.mkdir()
    new = tmp_path / "libx.so.1.2"
    new.write_bytes(library(compiler, 2).read_bytes())
    mask = os.umask(0o077)
    try:
        site.install(new)
    finally:
        os.umask(mask)
    assert (site.lib / "libx.so.1").readlink() == Path("libx.so.1.2")
    assert stat.S_IMODE((site.lib / "libx.so.1.2").stat().st_mode) == 0o644


def test_a_dangling_link_is_followed_to_where_it_leads(compiler: Compiler, site: Site) -> None:
    site.lib.mkdir()
    (site.lib / "libx.so.1").symlink_to("libx.so.1.1")
    site.install(library(compiler, 1), to=site.lib / "libx.so.1")
    assert (site.lib / "libx.so.1.1").is_file()


def test_a_file_where_the_soname_link_should_be_is_refused(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    site.place(library(compiler, 1), "libx.so.1")
    new = tmp_path / "libx.so.1.2"
    new.write_bytes(library(compiler, 2).read_bytes())
    with pytest.raises(SonameIsFile, match=r"libx\.so\.1 is a file and no link"):
        site.plan(new)


def test_several_libraries_change_together(compiler: Compiler, site: Site, tmp_path: Path) -> None:
    old, new = library(compiler, 1, soname=""), library(compiler, 2, soname="")
    sources = []
    for name in ("liba.so", "libb.so", "libc.so"):
        site.place(old, name)
        sources.append(tmp_path / name)
        sources[-1].write_bytes(new.read_bytes())
    done = site.install(*sources)
    assert done.operation is not None
    assert len(done.operation.transaction.changes) == 3
    assert all((site.lib / s.name).read_bytes() == new.read_bytes() for s in sources)
    assert len(site.store()) == 3
    site.rollback()
    assert all((site.lib / s.name).read_bytes() == old.read_bytes() for s in sources)


def test_what_nothing_here_provides_is_refused_unless_it_arrives_in_the_same_moment(
    compiler: Compiler, site: Site
) -> None:
    base = compiler.library("int f(void) { return 1; }\n", name="libbase.so.1",
                            soname="libbase.so.1")  # fmt: skip
    newer = compiler.library("int f(void) { return 1; }\nint g(void) { return 2; }\n",
                             name="libbase.so.1", soname="libbase.so.1")  # fmt: skip
    flags = (str(newer), f"-Wl,-rpath,{site.lib}")
    old = compiler.library("int f(void);\nint h(void) { return f(); }\n", *flags,
                           name="libtop.so.1", soname="libtop.so.1")  # fmt: skip
    new = compiler.library("int g(void);\nint h(void) { return g(); }\n", *flags,
                           name="libtop.so.1", soname="libtop.so.1")  # fmt: skip
    site.place(base, "libbase.so.1")
    top = site.place(old, "libtop.so.1")
    with pytest.raises(Incompatible, match="symbol-unresolved g"):
        site.install(new, to=top)
    assert top.read_bytes() == old.read_bytes()
    site.install(new, newer, to=site.lib)
    assert top.read_bytes() == new.read_bytes()


def test_two_sources_of_one_name_are_refused(compiler: Compiler, site: Site) -> None:
    site.place(library(compiler, 1), "fixture.so")
    with pytest.raises(UsageError, match="2 of the sources would become"):
        site.plan(library(compiler, 2), library(compiler, 3))


def test_the_same_bytes_are_nothing_to_do(compiler: Compiler, site: Site) -> None:
    new = library(compiler, 1)
    real = site.place(new, "libx.so.1")
    inode = real.stat().st_ino
    done = site.install(new, to=real)
    assert done.operation is None
    assert done.plan.unchanged == (str(real),)
    assert real.stat().st_ino == inode
    assert not site.settings.state_dir.exists()


def test_mode_and_attributes_come_from_the_old(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    real.chmod(0o750)
    os.setxattr(real, "user.note", b"from the old")
    site.install(library(compiler, 2), to=real)
    assert stat.S_IMODE(real.stat().st_mode) == 0o750
    assert os.getxattr(real, "user.note") == b"from the old"


@pytest.mark.root
def test_owner_and_capabilities_come_from_the_old(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    os.chown(real, 1234, 4321)
    capability = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
    os.setxattr(real, "security.capability", capability)
    site.install(library(compiler, 2), to=real)
    assert (real.stat().st_uid, real.stat().st_gid) == (1234, 4321)
    assert os.getxattr(real, "security.capability") == capability


def broken(kind: str, compiler: Compiler, tmp_path: Path) -> Path:
    path = tmp_path / "broken.so"
    good = library(compiler, 2).read_bytes()
    match kind:
        case "linker script":
            path.write_text("/* GNU ld script */\nGROUP ( /lib/libc.so.6 )\n")
        case "archive":
            path.write_bytes(b"!<arch>\n")
        case "empty":
            path.write_bytes(b"")
        case "junk":
            path.write_bytes(b"junk" * 1000)
        case "half":
            path.write_bytes(good[: len(good) // 2])
        case "all but one byte":
            path.write_bytes(good[:-1])
        case "header only":
            path.write_bytes(good[:64])
        case "program":
            path = compiler.program("int main(void) { return 0; }\n")
        case "static program":
            path = compiler.program("int main(void) { return 0; }\n", "-static", name="static")
        case "object":
            path = compiler.object("int f(void) { return 0; }\n")
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("linker script", "linker script"),
        ("archive", "static archive"),
        ("empty", "it is empty"),
        ("junk", "magic number"),
        ("half", "cut off|past the end"),
        ("all but one byte", "cut off|past the end"),
        ("header only", "past the end"),
        ("program", "executable program"),
        ("static program", "executable program"),
        ("object", "relocatable object"),
    ],
)
def test_what_is_no_shared_library_is_refused(
    compiler: Compiler, site: Site, tmp_path: Path, kind: str, said: str
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    before = untouched(real)
    with pytest.raises(InvalidElf, match=said):
        site.plan(broken(kind, compiler, tmp_path), to=real)
    assert untouched(real) == before


def test_sources_that_are_no_files_are_refused(site: Site, tmp_path: Path) -> None:
    site.lib.mkdir()
    os.mkfifo(tmp_path / "fifo")
    for path, said in (
        (tmp_path / "fifo", "no regular file"),
        (tmp_path, "no regular file"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(SourceUnreadable, match=said):
            site.plan(path)


@pytest.mark.skipif(not has("cc"), reason="no C compiler")
def test_a_library_for_another_machine_is_refused(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    other = bytearray(library(compiler, 2).read_bytes())
    other[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64
    path = tmp_path / "other.so"
    path.write_bytes(other)
    with pytest.raises(WrongMachine, match="aarch64"):
        site.plan(path, to=real, force=True)


def test_an_incompatible_library_is_refused_unless_forced(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1, extra="needed_by_others"), "libx.so.1")
    new = library(compiler, 2)
    with pytest.raises(Incompatible, match="needed_by_others"):
        site.plan(new, to=real)
    site.install(new, to=real, force=True)
    assert real.read_bytes() == new.read_bytes()


def test_a_file_cannot_be_installed_over_itself(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    with pytest.raises(SameFile):
        site.plan(real, to=real)


def test_other_hard_links_are_refused_unless_forced(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    (site.lib / "second").hardlink_to(real)
    with pytest.raises(HardLinked, match="2 hard links"):
        site.plan(library(compiler, 2), to=real)
    site.install(library(compiler, 2), to=real, force=True)
    assert (site.lib / "second").read_bytes() == library(compiler, 1).read_bytes()


def test_the_store_s_own_link_does_not_count(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    site.install(library(compiler, 2), to=real)
    site.rollback()
    assert real.stat().st_nlink == 2
    site.install(library(compiler, 3), to=real)
    assert real.read_bytes() == library(compiler, 3).read_bytes()


def test_a_destination_that_is_no_file_is_refused(compiler: Compiler, site: Site) -> None:
    site.lib.mkdir()
    os.mkfifo(site.lib / "libx.so.1")
    with pytest.raises(NotReplaceable, match="no regular file"):
        site.plan(library(compiler, 2), to=site.lib / "libx.so.1")


def test_a_directory_that_does_not_exist_is_refused(compiler: Compiler, site: Site) -> None:
    with pytest.raises(NotReplaceable, match="No such file or directory"):
        site.plan(library(compiler, 2), to=site.lib / "none/libx.so")


def test_an_old_file_that_is_no_library_is_refused_unless_forced(
    compiler: Compiler, site: Site
) -> None:
    site.lib.mkdir()
    script = site.lib / "libx.so"
    script.write_text("/* GNU ld script */ INPUT(libx.so.1)\n")
    with pytest.raises(NotReplaceable, match="linker script"):
        site.plan(library(compiler, 2), to=script)
    site.install(library(compiler, 2), to=script, force=True)
    site.rollback()
    assert script.read_text().startswith("/* GNU ld script")


def test_a_source_that_changes_after_the_plan_is_not_installed(
    compiler: Compiler, site: Site, tmp_path: Path
) -> None:
    old = library(compiler, 1)
    real = site.place(old, "libx.so.1")
    source = tmp_path / "new.so"
    source.write_bytes(library(compiler, 2).read_bytes())
    plan = site.plan(source, to=real)
    source.write_bytes(library(compiler, 3).read_bytes())
    with pytest.raises(SourceChanged):
        install.carry_out(plan, site.settings)
    assert real.read_bytes() == old.read_bytes()
    assert site.names() == ["libx.so.1"]
    assert site.store() == []


@pytest.mark.parametrize("how", ["replaced", "touched", "gone", "appeared"])
def test_a_destination_that_changes_after_the_plan_is_left_alone(
    compiler: Compiler, site: Site, how: str
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    if how == "appeared":
        real.unlink()
    plan = site.plan(library(compiler, 2), to=real)
    match how:
        case "replaced" | "appeared":
            other = site.place(library(compiler, 3), "other")
            other.rename(real)
        case "touched":
            with real.open("ab") as file:
                file.write(b"x")
        case "gone":
            real.unlink()
    there = real.read_bytes() if real.exists() else None
    with pytest.raises(DestinationChanged):
        install.carry_out(plan, site.settings)
    assert (real.read_bytes() if real.exists() else None) == there
    assert site.names() == (["libx.so.1"] if there else [])


def test_a_directory_that_is_swapped_after_the_plan_is_left_alone(
    compiler: Compiler, site: Site
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    plan = site.plan(library(compiler, 2), to=real)
    site.lib.rename(site.root / "moved")
    site.lib.mkdir()
    with pytest.raises(DestinationChanged):
        install.carry_out(plan, site.settings)
    assert site.names() == []


def test_a_second_libswap_is_told_who_holds_the_lock(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    plan = site.plan(library(compiler, 2), to=real)
    with (
        locked(site.settings.state_dir, 0, "rollback"),
        pytest.raises(LockHeld, match=rf"process {os.getpid()} \(libswap rollback\)"),
    ):
        install.carry_out(plan, site.settings)


def test_two_state_directories_wait_for_each_other_in_one_directory(
    compiler: Compiler, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(site.root))
    real = site.place(library(compiler, 1), "libx.so.1")
    plan = site.plan(library(compiler, 2), to=real)
    with Directory(str(site.lib)) as directory:
        with alone_in([directory], 0), pytest.raises(LockHeld, match=re.escape(str(site.lib))):
            install.carry_out(plan, site.settings)
        assert real.read_bytes() == library(compiler, 1).read_bytes()
        with Directory(str(site.root)) as elsewhere, alone_in([elsewhere], 0):
            install.carry_out(plan, site.settings)
    assert real.read_bytes() == library(compiler, 2).read_bytes()


def test_a_reader_never_misses_the_file_nor_sees_a_part_of_it(
    compiler: Compiler, site: Site
) -> None:
    both = [library(compiler, v).read_bytes() for v in (1, 2)]
    real = site.place(library(compiler, 1), "libx.so.1")
    seen: set[bytes] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.add(real.read_bytes() if real.exists() else b"missing")

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        for version in (2, 1) * 10:
            site.install(library(compiler, version), to=real)
    finally:
        stop.set()
        reader.join()
    assert seen <= set(both)


def test_a_directory_of_others_is_refused_before_anything_is_made(
    compiler: Compiler, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    monkeypatch.setattr(Directory, "may_be_changed", lambda _: False)
    with pytest.raises(DestinationProtected, match="may not write to its directory"):
        site.plan(library(compiler, 2), to=real)


@pytest.mark.root
class TestRefusedToRoot:
    def test_a_source_that_others_can_write(
        self, compiler: Compiler, site: Site, tmp_path: Path
    ) -> None:
        real = site.place(library(compiler, 1), "libx.so.1")
        source = tmp_path / "new.so"
        source.write_bytes(library(compiler, 2).read_bytes())
        source.chmod(0o666)
        with pytest.raises(Untrusted, match="everybody can write"):
            site.plan(source, to=real)
        site.plan(source, to=real, untrusted_source=True)

    def test_a_source_of_another_user_unless_it_is_the_one_behind_sudo(
        self, compiler: Compiler, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = site.place(library(compiler, 1), "libx.so.1")
        source = tmp_path / "new.so"
        source.write_bytes(library(compiler, 2).read_bytes())
        os.chown(source, 1234, 0)
        with pytest.raises(Untrusted, match="belongs to user 1234"):
            site.plan(source, to=real)
        monkeypatch.setenv("SUDO_UID", "1234")
        site.plan(source, to=real)

    def test_a_directory_that_others_can_write(self, compiler: Compiler, site: Site) -> None:
        real = site.place(library(compiler, 1), "libx.so.1")
        site.lib.chmod(0o1777)
        with pytest.raises(Untrusted, match="everybody"):
            site.plan(library(compiler, 2), to=real)
        site.plan(library(compiler, 2), to=real, untrusted_directory=True)

    @pytest.mark.skipif(not has("chattr"), reason="no chattr (Debian: e2fsprogs)")
    @pytest.mark.parametrize(("flag", "said"), [("i", "immutable"), ("a", "append-only")])
    def test_an_immutable_or_append_only_file_or_directory(
        self, compiler: Compiler, site: Site, flag: str, said: str
    ) -> None:
        real = site.place(library(compiler, 1), "libx.so.1")
        for what in (real, site.lib):
            done = subprocess.run(["chattr", f"+{flag}", what], check=False, capture_output=True)
            if done.returncode:
                pytest.skip("this file system keeps no flags")
            try:
                with pytest.raises(DestinationProtected, match=said):
                    site.plan(library(compiler, 2), to=real)
            finally:
                subprocess.run(["chattr", f"-{flag}", what], check=True)


@pytest.mark.namespaces
def test_a_mount_point_is_refused(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    other = site.place(library(compiler, 3), "other")
    subprocess.run(["mount", "--bind", other, real], check=True)
    try:
        with pytest.raises(MountPoint, match="is a mount point"):
            site.plan(library(compiler, 2), to=real)
    finally:
        subprocess.run(["umount", real], check=True)


@pytest.mark.namespaces
def test_mounts_of_other_namespaces_are_seen(compiler: Compiler, site: Site) -> None:
    real = site.place(library(compiler, 1), "libx.so.1")
    other = site.place(library(compiler, 3), "other")
    (site.root / "jail.so").touch()
    script = (
        f"mount --bind {other} {real} && mount --bind {other} {site.root}/jail.so"
        " && echo ready && read _"
    )
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(MountPoint, match=f"namespace of process {child.pid}"):
            site.plan(library(compiler, 2), to=real)
        shown = site.plan(library(compiler, 2), to=other).notices
        child.communicate(b"\n")
    assert {f"{site.root}/jail.so", str(real)} == {
        word for notice in shown for word in notice.text.split() if word.startswith("/")
    }


@pytest.mark.namespaces
def test_a_read_only_file_system_is_refused(compiler: Compiler, site: Site) -> None:
    site.place(library(compiler, 1), "libx.so.1")
    subprocess.run(["mount", "--bind", site.lib, site.lib], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", site.lib], check=True)
        with pytest.raises(DestinationProtected, match="read-only"):
            site.plan(library(compiler, 2), to=site.lib / "libx.so.1")
    finally:
        subprocess.run(["umount", site.lib], check=True)


def test_who_runs_already_what_stays_is_not_named_and_who_runs_what_was_there_before_is(
    compiler: Compiler, site: Site
) -> None:
    old, new = library(compiler, 1), library(compiler, 2)
    real = site.place(old, "libx.so.1")
    with hold(holder(compiler), "dlopen", real) as early:
        site.install(new, to=real)
        with hold(holder(compiler), "dlopen", real):
            plan = site.plan(new, to=real)
    assert plan.unchanged == (str(real),)
    assert [user.process.identity.pid for user in plan.usage.users] == [early.pid]
    (advice,) = [text for part in render(plan) if "libswap live" in (text := str(part))]
    assert advice.endswith(f"libswap live {real}")
