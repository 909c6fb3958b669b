import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from libswap.abi.verdict import Verdict
from libswap.elf.image import Image
from libswap.elf.search import Search
from libswap.errors.base import InvalidElf, SystemRefused
from libswap.errors.install import Incompatible
from libswap.linux.child import Child
from libswap.linux.rooted import Root
from libswap.operations.check import Check, check
from libswap.operations.check.result import SymbolLevelOnly, TypesCompared
from libswap.settings import Settings
from support.compiler import Compiler, has
from support.facts import facts

pytestmark = pytest.mark.compiler

SCHEMA = Path(__file__).parents[2] / "docs/reference/json-schema.json"
OLD = "char table[8] = {1};\nint used(void) { return 1; }\nint idle(void) { return 2; }\n"
PROGRAM = """
#include <stdio.h>
extern char table[8];
int used(void);
int main(void) {
  char line[8];
  printf("%d\\n", used() + table[0]);
  fflush(stdout);
  return fgets(line, sizeof line, stdin) == NULL;
}
"""


class Shop:
    """An installed library at lib/libx.so.1 and a program that is linked to it."""

    def __init__(self, compiler: Compiler, root: Path) -> None:
        self.compiler, self.root = compiler, root
        self.old = root / "lib/libx.so.1"
        self.old.parent.mkdir()
        made = self.build(OLD)
        shutil.copy(made, self.old)
        rpath = f"-Wl,-rpath,{self.old.parent}"
        self.program = compiler.program(PROGRAM, str(made), "-no-pie", "-fno-pie", rpath)

    def build(self, source: str, *flags: str) -> Path:
        return self.compiler.library(source, *flags, name="libx.so.1", soname="libx.so.1")

    def check(self, source: str, *flags: str) -> Check:
        return check(str(self.old), str(self.build(source, *flags)), Settings())


@pytest.fixture
def shop(compiler: Compiler, tmp_path: Path) -> Shop:
    return Shop(compiler, tmp_path)


@pytest.fixture
def running(shop: Shop) -> Iterator[Child]:
    with Child([str(shop.program)], directory="/", timeout=20) as child:
        assert child.hear() == "2"
        yield child


def importers(result: Check, rule: str) -> set[tuple[int, str]]:
    return {
        (importer.pid, importer.module)
        for finding in result.findings
        if finding.rule == rule
        for importer in finding.importers
    }


def test_the_same_file_is_nothing_to_do(shop: Shop) -> None:
    result = shop.check(OLD)
    assert result.verdict in (Verdict.IDENTICAL, Verdict.COMPATIBLE)
    assert result.findings == ()


def test_the_process_that_uses_a_removed_function_is_named(shop: Shop, running: Child) -> None:
    result = shop.check(OLD.replace("used", "renamed"))
    assert result.verdict is Verdict.INCOMPATIBLE
    assert [process.pid for process in result.processes] == [running.pid]
    assert importers(result, "symbol-removed") == {(running.pid, str(shop.program))}


def test_a_function_that_no_process_uses_is_told_without_one(shop: Shop, running: Child) -> None:
    result = shop.check(OLD.replace("idle", "renamed"))
    assert result.verdict is Verdict.INCOMPATIBLE
    assert [process.pid for process in result.processes] == [running.pid]
    assert importers(result, "symbol-removed") == set()


def test_a_program_with_a_copy_of_data_that_grows_is_named(shop: Shop, running: Child) -> None:
    result = shop.check(OLD.replace("table[8]", "table[32]"))
    assert importers(result, "copy-relocation") == {(running.pid, str(shop.program))}


def test_a_process_that_runs_a_deleted_library_is_found(shop: Shop, running: Child) -> None:
    again = shop.old.with_name("stage")
    shutil.copy(shop.old, again)
    again.rename(shop.old)
    result = shop.check(OLD.replace("used", "renamed"))
    assert importers(result, "symbol-removed") == {(running.pid, str(shop.program))}


def test_a_needed_library_is_looked_for_as_each_process_would(shop: Shop, running: Child) -> None:
    extra = shop.compiler.library("int extra;\n", name="libextra.so", soname="libextra.so")
    words = ["-Wl,--no-as-needed", str(extra)]
    (missing,) = [f for f in shop.check(OLD, *words).findings if f.rule == "needed-not-found"]
    assert "a program started now" in missing.new
    assert str(running.pid) in missing.new
    shutil.copy(extra, shop.old.parent)
    rules = {f.rule for f in shop.check(OLD, *words, "-Wl,-rpath,$ORIGIN").findings}
    assert rules == {"needed-added"}


def test_a_symbol_that_the_running_program_provides_is_not_missed_there(
    shop: Shop, running: Child
) -> None:
    result = shop.check(OLD + "int absent(void);\nint more(void) { return absent(); }\n")
    (finding,) = [f for f in result.findings if f.rule == "symbol-unresolved"]
    assert (finding.subject, str(running.pid) in finding.new) == ("absent", True)


@pytest.mark.root
def test_a_process_in_another_root_is_looked_at_inside_it(shop: Shop, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    for path in (shop.old, shop.program, *_needed(shop.program)):
        copy = inner / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    inside = inner / shop.old.relative_to("/")
    enter = ["/usr/sbin/chroot", str(inner), str(shop.program)]
    with Child(enter, directory="/", timeout=20) as child:
        assert child.hear() == "2"
        extra = shop.compiler.library("int extra;\n", name="libextra.so", soname="libextra.so")
        new = shop.build(OLD.replace("used", "other"), "-Wl,--no-as-needed", str(extra),
                         f"-Wl,-rpath,{tmp_path}/here")  # fmt: skip
        (tmp_path / "here").mkdir()
        shutil.copy(extra, tmp_path / "here")  # of no use: it lies outside
        result = check(str(inside), str(new), Settings())
        assert [p.pid for p in result.processes] == [child.pid]
        assert {pid for pid, _ in importers(result, "symbol-removed")} == {child.pid}
        (missing,) = [f for f in result.findings if f.rule == "needed-not-found"]
        assert str(child.pid) in missing.new
        assert "started now" not in missing.new


def _needed(program: Path) -> Iterator[Path]:
    """The dynamic linker and the C library of a program."""
    yield Path(facts(program).interpreter or "")
    with Root.open("/") as root:
        image = Image.open(program)
        found = Search.glibc(root, image.target).find("libc.so.6", [])
        assert found is not None
        yield Path(found.path)


def test_a_library_for_another_c_library_is_looked_up_as_its_programs_would(
    shop: Shop, running: Child
) -> None:
    """Programs of glibc look for musl's libc.so as for any library, and musl has none of theirs."""
    musl = shop.compiler.library("int musl;\n", name="libc.so", soname="libc.so")
    new = shop.build(OLD, "-nostdlib", "-Wl,--no-as-needed", str(musl))
    found = check(str(shop.old), str(new), Settings())
    assert [process.pid for process in found.processes] == [running.pid]
    assert found.verdict is Verdict.INCOMPATIBLE
    assert "needed-not-found" in {f.rule for f in found.findings}


@pytest.mark.skipif(not has("abidiff"), reason="no abidiff (abigail-tools)")
def test_layouts_are_compared_where_there_is_debug_information(compiler: Compiler) -> None:
    source = "struct s { int a; long b; };\nlong f(struct s *p) { return p->b; }\n"
    turned = source.replace("int a; long b;", "long b; int a;")
    old, new, bare = (compiler.library(text, *flags, name="libl.so") for text, flags in (
        (source, ["-g"]), (turned, ["-g"]), (turned, ["-g0"]),
    ))  # fmt: skip
    seen = check(str(old), str(new), Settings())
    assert seen.types == TypesCompared()
    assert [f.rule for f in seen.findings] == ["type-layout"]
    blind = check(str(old), str(bare), Settings())
    assert blind.verdict is Verdict.COMPATIBLE
    assert isinstance(blind.types, SymbolLevelOnly)
    assert str(bare) in blind.types.reason
    hurried = check(str(old), str(new), Settings(abidiff_time=0.0))
    assert isinstance(hurried.types, SymbolLevelOnly)


def test_what_is_no_library_is_an_error_or_a_finding(shop: Shop) -> None:
    old = str(shop.old)
    for bad in (str(shop.root), "/dev/null", __file__):
        with pytest.raises(InvalidElf):
            check(old, bad, Settings())
        with pytest.raises(InvalidElf):
            check(bad, old, Settings())
    with pytest.raises(InvalidElf, match="program"):
        check(str(shop.program), old, Settings())
    with pytest.raises(SystemRefused, match="No such file"):
        check(old, str(shop.root / "absent.so"), Settings())
    (finding,) = check(old, str(shop.program), Settings()).findings
    assert finding.rule == "file-type"


def libswap(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "libswap", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_answers_with_its_exit_code(shop: Shop) -> None:
    weaker = shop.build(OLD, "-Wl,-z,execstack")
    gone = shop.build("int idle(void) { return 2; }\n")
    assert libswap("check", shop.old, weaker).returncode == 0
    assert libswap("check", "--strict", shop.old, weaker).returncode == Incompatible.exit_code
    told = libswap("check", shop.old, gone)
    assert told.returncode == Incompatible.exit_code
    assert "symbol-removed" in told.stdout
    assert "used" in told.stdout
    assert told.stderr == ""


def test_the_command_answers_with_one_document(shop: Shop) -> None:
    gone = shop.build("int idle(void) { return 2; }\n")
    done = libswap("check", "--json", shop.old, gone)
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert (document["exit_code"], done.returncode) == (Incompatible.exit_code,) * 2
    assert document["result"]["verdict"] == "incompatible"
    found = {f["rule"]: f for f in document["result"]["findings"]}
    assert found["symbol-removed"]["symbol"] == {"name": "used", "version": ""}
    assert found["symbol-removed"]["severity"] == "incompatible"


def test_escapes_in_a_symbols_name_do_not_reach_the_terminal(shop: Shop) -> None:
    data = shop.build(OLD.replace("used", "uXXd")).read_bytes()
    evil = shop.root / "evil.so"
    evil.write_bytes(data.replace(b"uXXd", b"u\x1b[d"))
    told = libswap("check", shop.old, evil)
    assert "\x1b" not in told.stdout
    assert "u\\x1b[d" in told.stdout
