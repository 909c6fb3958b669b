"""Patches in real processes: applied, stacked, replaced, taken back, verified."""

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from libswap.errors.live import CommitBlocked
from libswap.live.subject import Subject
from libswap.live.writing import Prepared
from libswap.operations import patch_apply, patch_revert, patch_status, patch_switch
from libswap.operations.moves import Refused, Skipped
from libswap.operations.patch_build import Request, build
from libswap.operations.patch_entries import Options
from libswap.operations.patch_insert import Applied
from libswap.operations.patch_revert import Reverted
from libswap.operations.patch_show import show
from libswap.patch.link import Wishes
from support.compiler import FIXTURES, Compiler
from support.host import Host, host
from support.shop import Shop

pytestmark = [pytest.mark.compiler, pytest.mark.ptrace]

KINDS = {"pie": ("-pie", "-fPIE"), "no-pie": ("-no-pie", "-fno-pie"), "static": ("-static",),
         "static-pie": ("-static-pie", "-fPIE")}  # fmt: skip


def built(program: Path, source: str, output: Path, **wishes: object) -> Path:
    """A patch file of a fixture, or of C text that holds a newline."""
    path = FIXTURES / source if "\n" not in source else output.with_suffix(".c")
    if "\n" in source:
        path.write_text(source)
    build(Request([path], program, output, Wishes(**wishes)))  # type: ignore[arg-type]
    return output


def applied(path: Path, process: Host, **options: object) -> Applied:
    (result,) = patch_apply.apply(path, Options(**options), pids=[process.pid]).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Applied), result.outcome
    return result.outcome


def refusal(path: Path, process: Host, **options: object) -> Refused:
    (result,) = patch_apply.apply(path, Options(**options), pids=[process.pid]).processes  # type: ignore[arg-type]
    assert isinstance(result.outcome, Refused), result.outcome
    return result.outcome


def reverted(process: Host, wanted: str = "") -> Reverted:
    (result,) = patch_revert.revert([process.pid], wanted, Options()).processes
    assert isinstance(result.outcome, Reverted), result.outcome
    return result.outcome


def shop_of(compiler: Compiler, kind: str) -> Path:
    shop = compiler.object("patch/shop.c", "-O2", *(f for f in KINDS[kind] if f.startswith("-f")))
    return compiler.program("patch/host.c", str(shop), *KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_of_any_kind_is_patched_and_taken_back(
    compiler: Compiler, tmp_path: Path, kind: str
) -> None:
    program = shop_of(compiler, kind)
    path = built(program, "patch/shop_fix.c", tmp_path / "fix.lsp")
    told = Shop()
    with host(program) as process:
        assert process.scenario(1) == told.old(1)
        outcome = applied(path, process)
        assert [process.scenario(n) for n in range(9)] == [told.new(n) for n in range(9)]
        listed = patch_status.status([process.pid], verify=True)
        assert listed.exit_code == 0
        assert [p.id for p in listed.processes[0].patches] == [outcome.id]
        assert reverted(process).id == outcome.id
        assert [process.scenario(n) for n in range(9)] == [told.old(n) for n in range(9)]
        assert patch_status.status([process.pid], active=True).processes[0].patches == ()


def test_without_a_moment_to_settle_it_is_in_force_and_listed(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shop_of(compiler, "pie")
    path = built(program, "patch/shop_fix.c", tmp_path / "fix.lsp")
    told = Shop()

    def never(subject: Subject, _: Prepared) -> NoReturn:
        raise CommitBlocked(subject.identity.pid, 0.0, ("a thread",))

    with host(program) as process:
        monkeypatch.setattr(patch_switch, "_settle", never)
        id_ = applied(path, process).id
        monkeypatch.undo()
        assert process.scenario(1) == told.new(1)
        (found,) = patch_status.status([process.pid], verify=True).processes
        assert ([p.id for p in found.patches], found.unfinished) == ([id_], True)
        assert not found.damage
        assert reverted(process).id == id_
        assert [process.scenario(n) for n in range(9)] == [told.old(n) for n in range(9)]


LIBRARY = """
#include <string.h>
__thread int calls = 3;
static __thread int inner = 4;
int shared = 10;
static __attribute__((noinline, noclone)) int twice(int x) { return 2 * x + (int)strlen("ab"); }
int seen(void) { return calls * 100 + inner; }
long work(long x) { calls++; inner++; return twice((int)x) + shared; }
"""
LIBRARY_FIX = """
#include <stdio.h>
#include <string.h>
extern __thread int calls, inner;
extern int shared;
int seen(void);
int twice(int x) {
    char text[64];
    calls += 2;
    inner += 3;
    shared++;
    memset(text, 0, sizeof text);
    return snprintf(text, sizeof text, "%0*d", x, seen()) + (int)strlen(text) * 1000;
}
"""


def test_a_static_function_of_a_library_is_patched(compiler: Compiler, tmp_path: Path) -> None:
    library = compiler.library(LIBRARY, "-O2", name="libwork.so", soname="libwork.so")
    main = "extern long work(long);\nlong scenario(long x) { return work(x); }\n"
    program = compiler.program(
        "patch/host.c", str(compiler.object(main)), str(library), f"-Wl,-rpath,{library.parent}"
    )
    path = built(library, LIBRARY_FIX, tmp_path / "fix.lsp")
    with host(program) as process:
        assert process.scenario(20) == 2 * 20 + 2 + 10
        applied(path, process)
        assert process.scenario(20) == 20 + 20 * 1000 + 11
        assert process.scenario(0) == 4 + 4 * 1000 + 12, "seen() gives 1013: 10 calls and inner 13"
        reverted(process)
        assert process.scenario(20) == 2 * 20 + 2 + 12


VALUE = """
#define KEEP __attribute__((noinline, noclone))
static KEEP int base(int x) {{ return x + {0} + (x > 1000 ? x / 7 : 0); }}
static KEEP int other(int x) {{ return x * {0} + (x > 1000 ? x / 9 : 0); }}
long scenario(long x) {{ return base((int)x) * 1000L + other((int)x); }}
"""
BOTH = "int base(int x) {{ return x + {0}; }}\nint other(int x) {{ return x * {0}; }}\n"
ONE = "int base(int x) {{ return x + {0}; }}\n"
CHAINED = """
int libswap_original_base(int);
int base(int x) {{ return libswap_original_base(x) + {0}; }}
"""


@pytest.fixture
def program(compiler: Compiler) -> Path:
    return compiler.program("patch/host.c", str(compiler.object(VALUE.format(1), "-O2")))


def test_patches_stack_and_the_last_comes_off_first(program: Path, tmp_path: Path) -> None:
    first = built(program, BOTH.format(2), tmp_path / "first.lsp")
    second = built(program, CHAINED.format(10), tmp_path / "second.lsp")
    with host(program) as process:
        assert process.scenario(5) == 6005
        below = applied(first, process).id
        assert process.scenario(5) == 7010
        applied(second, process)
        assert process.scenario(5) == 17010, "it calls the first patch, which it stands on"
        (result,) = patch_revert.revert([process.pid], below, Options()).processes
        assert isinstance(result.outcome, Refused)
        assert result.outcome.error == "PatchNotRevertible"
        assert process.scenario(5) == 17010
        reverted(process)
        assert process.scenario(5) == 7010
        reverted(process, below)
        assert process.scenario(5) == 6005


def test_a_patch_below_another_comes_off_where_nobody_calls_it(
    program: Path, tmp_path: Path
) -> None:
    first = built(program, BOTH.format(2), tmp_path / "first.lsp")
    second = built(program, ONE.format(3), tmp_path / "second.lsp")
    with host(program) as process:
        below, above = applied(first, process).id, applied(second, process).id
        assert process.scenario(5) == 8010
        reverted(process, below)
        assert process.scenario(5) == 8005
        assert patch_status.status([process.pid], verify=True).exit_code == 0
        reverted(process, above)
        assert process.scenario(5) == 6005


def test_a_newer_patch_takes_the_place_of_an_older_one_in_one_commit(
    program: Path, tmp_path: Path
) -> None:
    first = built(program, BOTH.format(2), tmp_path / "first.lsp")
    second = built(program, CHAINED.format(30), tmp_path / "second.lsp")
    with host(program) as process:
        old = applied(first, process).id
        outcome = applied(second, process, replace=True)
        assert outcome.replaces == (old,)
        assert process.scenario(5) == 36005, "the original below it is the program's own"
        reverted(process)
        assert process.scenario(5) == 6005
        assert patch_status.status([process.pid], active=True).processes[0].patches == ()


def test_the_same_patch_twice_is_nothing_to_do_and_again_after_its_end(
    program: Path, tmp_path: Path
) -> None:
    path = built(program, BOTH.format(2), tmp_path / "fix.lsp")
    with host(program) as process:
        for _ in range(20):
            applied(path, process)
            (again,) = patch_apply.apply(path, Options(), pids=[process.pid]).processes
            assert isinstance(again.outcome, Skipped)
            assert process.scenario(5) == 7010
            reverted(process)
            assert process.scenario(5) == 6005


def test_another_build_is_refused_by_its_build_id(
    compiler: Compiler, program: Path, tmp_path: Path
) -> None:
    other = compiler.program("patch/host.c", str(compiler.object(VALUE.format(7), "-O2")))
    path = built(other, ONE.format(2), tmp_path / "fix.lsp")
    with host(program) as process:
        assert refusal(path, process).error == "PatchMismatch"


def test_an_entry_that_somebody_else_changed_is_refused(program: Path, tmp_path: Path) -> None:
    path = built(program, ONE.format(2), tmp_path / "fix.lsp")
    place = show(path).patch.replaced[0].vaddr
    with host(program) as process:
        process._redirect(process.base + place, process.base + place + 64)
        assert refusal(path, process).error == "EntryChanged"


def test_hooks_run_in_their_order_and_may_say_no(program: Path, tmp_path: Path) -> None:
    source = """
    static int log;
    __attribute__((constructor)) static void first(void) { log = log * 10 + 1; }
    int libswap_pre_apply(void) { log = log * 10 + 2; return %d; }
    int libswap_post_apply(void) { log = log * 10 + 3; return 0; }
    int libswap_pre_revert(void) { return log != 123; }
    int base(int x) { return log; }
    """
    yes = built(program, source % 0, tmp_path / "yes.lsp")
    no = built(program, source % 7, tmp_path / "no.lsp")
    with host(program) as process:
        assert "it answered 7" in refusal(no, process).reason
        assert process.scenario(5) == 6005
        applied(yes, process)
        assert process.scenario(5) == 123005
        reverted(process)
        assert process.scenario(5) == 6005


def test_a_constructor_that_crashes_leaves_the_process_as_it_was(
    program: Path, tmp_path: Path
) -> None:
    source = """
    __attribute__((constructor)) static void crash(void) { *(volatile int *)8 = 1; }
    int base(int x) { return 0; }
    """
    path = built(program, source, tmp_path / "fix.lsp")
    with host(program) as process:
        before = Path(f"/proc/{process.pid}/maps").read_text().count("\n")
        assert "SIGSEGV" in refusal(path, process).reason
        assert process.scenario(5) == 6005
        after = Path(f"/proc/{process.pid}/maps").read_text().count("\n")
        assert after <= before + 1, "only the record may stay"


def test_a_patch_whose_other_function_is_covered_is_not_replaced(
    program: Path, tmp_path: Path
) -> None:
    both = built(program, BOTH.format(2), tmp_path / "both.lsp")
    over = built(program, "int other(int x) { return x * 50; }\n", tmp_path / "over.lsp")
    newer = built(program, ONE.format(9), tmp_path / "newer.lsp")
    with host(program) as process:
        applied(both, process)
        applied(over, process)
        assert process.scenario(5) == 7250
        assert refusal(newer, process, replace=True).error == "EntryChanged"
        assert process.scenario(5) == 7250


def test_a_swap_of_a_patched_library_is_refused_until_the_patch_is_gone(
    compiler: Compiler, tmp_path: Path
) -> None:
    old = compiler.library(LIBRARY, "-O2", name="libwork.so", soname="libwork.so")
    new = compiler.library(LIBRARY + "int added;\n", "-O2", name="libwork.so", soname="libwork.so")
    main = "extern long work(long);\nlong scenario(long x) { return work(x); }\n"
    program = compiler.program(
        "patch/host.c", str(compiler.object(main)), str(old), f"-Wl,-rpath,{old.parent}"
    )
    path = built(old, LIBRARY_FIX, tmp_path / "fix.lsp")
    swap = [sys.executable, "-m", "libswap", "live", str(old), "--new", str(new), "--dry-run"]
    with host(program) as process:
        applied(path, process)
        command = [*swap, "--pid", str(process.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "risk: patched: twice@source.c" in " ".join(done.stdout.split())
