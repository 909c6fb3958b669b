"""What two builds of a library differ in, and what that means for objects of the first."""

import subprocess
from pathlib import Path

import pytest

from libswap.live.module import LibraryCache
from libswap.operations.survival import Survival, Verdict, survival
from libswap.survival.evidence import Weight
from support.compiler import Compiler, has

pytestmark = pytest.mark.compiler

STORE = "survival/store.c"


def judged(compiler: Compiler, *changes: str, old: tuple[str, ...] = (), new: tuple[str, ...] = (),
           cc: str = "cc", level: str = "-O2", kept: Path | None = None) -> Survival:  # fmt: skip
    before = compiler.library(STORE, level, *old)
    after = compiler.library(STORE, level, *new, *(f"-D{c}" for c in changes), cc=cc)
    cache = LibraryCache()
    return survival(cache.open(str(before)), cache.open(str(after)), kept)


def dangers(found: Survival) -> dict[str, set[str]]:
    """Kind of danger -> what it is about."""
    kinds: dict[str, set[str]] = {}
    for one in found.evidence:
        if one.weight is Weight.DANGER:
            kinds.setdefault(one.kind, set()).add(one.subject)
    return kinds


STRIPPED = ("-Wl,-s",)


@pytest.mark.parametrize("stripped", [(), STRIPPED], ids=["symbols", "stripped"])
@pytest.mark.parametrize("level", ["-O1", "-O2", "-Os"])
@pytest.mark.parametrize("change", ["ADDED", "MOVED", "GROWN", "INNER", "REORDERED"])
def test_a_layout_that_changed_is_unsafe(
    compiler: Compiler, change: str, level: str, stripped: tuple[str, ...]
) -> None:
    found = judged(compiler, change, level=level, old=stripped, new=stripped)
    assert found.verdict is Verdict.UNSAFE
    kinds = {"ADDED": "field-moved", "MOVED": "field-moved", "GROWN": "size-changed",
             "INNER": "size-changed", "REORDERED": "table-reordered"}  # fmt: skip
    assert kinds[change] in dangers(found)


def test_the_evidence_names_function_offset_and_size(compiler: Compiler) -> None:
    found = judged(compiler, "ADDED")
    (count,) = (e for e in found.evidence if e.subject == "store_count")
    assert (count.kind, count.old, count.new) == (
        "field-moved", "argument 0 → 16 (8 bytes)", "argument 0 → 24 (8 bytes)"
    )  # fmt: skip
    size = next(e for e in found.evidence if e.kind == "size-changed" and "calloc" in e.old)
    assert (size.subject, size.old, size.new) == ("store_open", "calloc of 48 bytes", "56 bytes")


@pytest.mark.parametrize("stripped", [(), STRIPPED], ids=["symbols", "stripped"])
@pytest.mark.parametrize("change", ["LIMIT=200", "FIXED"])
def test_a_fix_that_moves_nothing_is_likely_safe(
    compiler: Compiler, change: str, stripped: tuple[str, ...]
) -> None:
    found = judged(compiler, change, old=stripped, new=stripped)
    assert found.verdict is Verdict.LIKELY, found.evidence


@pytest.mark.parametrize("other", ["-O1", "-Os", "-fcf-protection=full"])
def test_what_a_compiler_decides_anew_means_nothing(compiler: Compiler, other: str) -> None:
    found = judged(compiler, new=tuple(other.split()))
    assert found.verdict is Verdict.LIKELY, found.evidence


@pytest.mark.parametrize("change", ["", "ADDED", "MOVED", "INNER"])
def test_another_compiler_is_seen_through(compiler: Compiler, change: str) -> None:
    if not has("clang"):
        pytest.skip("no clang")
    found = judged(compiler, *filter(None, [change]), cc="clang")
    assert found.verdict is not (Verdict.LIKELY if change else Verdict.UNSAFE), found.evidence


def test_the_same_code_under_another_build_id_is_proven(compiler: Compiler) -> None:
    found = judged(compiler, old=("-Wl,--build-id=0x1234",), new=("-Wl,--build-id=0x5678",))
    assert found.verdict is Verdict.PROVEN


def test_the_same_code_split_from_its_symbols_is_proven(compiler: Compiler, tmp_path: Path) -> None:
    whole = compiler.library(STORE, "-O2", "-g")
    stripped = tmp_path / "libstore.so"
    link = tmp_path / "libstore.so.debug"
    subprocess.run(["objcopy", "--only-keep-debug", whole, link], check=True)
    subprocess.run(["strip", "-o", stripped, whole], check=True)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={link}", stripped], check=True)
    cache = LibraryCache()
    for one, other in ((stripped, stripped), (stripped, whole)):
        found = survival(cache.open(str(one)), cache.open(str(other)))
        assert found.verdict is Verdict.PROVEN, found
        assert "the same but for the build id" in found.reasons[0]


def test_nameless_data_that_lead_to_code_do_not_make_the_same_library_another(
    compiler: Compiler,
) -> None:
    library = compiler.library(
        "static int count; static int more(void) { return ++count; }\n"
        "static int (*step)(void) = more; static char room[64];\n"
        "int next(void) { return step() + room[1]; }\n"
        "void stop(int i) { step = 0; room[i] = 1; }\n",
        "-O2", "-Wl,-s",
    )  # fmt: skip
    found = LibraryCache().open(str(library))
    judged = survival(found, found)
    assert judged.verdict is Verdict.PROVEN, judged
    assert [e.subject for e in judged.evidence] == ["data without names"]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ("COMPARED", Verdict.UNKNOWN),
        ("COMPARED_DATA", Verdict.UNKNOWN),
        ("GUESSED", Verdict.PROVEN),
        ("OWN_GUESSED", Verdict.PROVEN),
        ("OWN_COMPARED", Verdict.UNKNOWN),
        ("LABELS", Verdict.PROVEN),
    ],
)
def test_addresses_that_the_same_code_keeps(
    compiler: Compiler, change: str, verdict: Verdict
) -> None:
    found = judged(compiler, change, old=(f"-D{change}",))
    assert found.verdict is verdict, found


@pytest.mark.parametrize("guess", ["GUESSED", "OWN_GUESSED"])
def test_a_compilers_guess_at_a_callee_is_no_comparison(compiler: Compiler, guess: str) -> None:
    found = judged(compiler, guess, "FIXED", old=(f"-D{guess}",))
    assert found.verdict is Verdict.LIKELY, found


def test_a_field_of_another_width_is_no_likely_case(compiler: Compiler) -> None:
    assert judged(compiler, "NARROWED").verdict in (Verdict.UNKNOWN, Verdict.UNSAFE)


@pytest.mark.parametrize(
    ("change", "kind", "where"),
    [
        ("COMPARED", "address-compared", "store_flags"),
        ("COMPARED_DATA", "address-compared", "store_flags"),
        ("LABELS", "label-addresses", "store_run"),
        ("OWN_COMPARED", "address-compared", "store_flags"),
    ],
)
def test_addresses_of_code_in_objects_make_it_unknown(
    compiler: Compiler, change: str, kind: str, where: str
) -> None:
    found = judged(compiler, change)
    assert found.verdict is Verdict.UNKNOWN
    assert [(e.kind, e.subject) for e in found.evidence if e.weight is Weight.DOUBT] == [
        (kind, where)
    ]


def test_data_that_no_longer_exists_makes_it_unknown(compiler: Compiler) -> None:
    found = judged(compiler, "RENAMED")
    assert found.verdict is Verdict.UNKNOWN
    (lost,) = (e for e in found.evidence if e.weight is Weight.DOUBT)
    assert (lost.kind, "opened" in lost.subject) == ("static-data", True)


def test_data_that_is_carried_is_named(compiler: Compiler) -> None:
    found = judged(compiler, "FIXED")
    assert [e.old for e in found.evidence if e.weight is Weight.NOTE] == [
        "1 named objects, 8 bytes"
    ]


def test_a_result_is_kept_and_found_again(compiler: Compiler, tmp_path: Path) -> None:
    first = judged(compiler, "ADDED", kept=tmp_path)
    [file] = (tmp_path / "survival").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    written = file.stat().st_mtime_ns
    assert judged(compiler, "ADDED", kept=tmp_path) == first
    assert file.stat().st_mtime_ns == written


def test_what_others_could_have_written_is_not_believed(compiler: Compiler, tmp_path: Path) -> None:
    first = judged(compiler, "ADDED", kept=tmp_path)
    [file] = (tmp_path / "survival").iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], whole.replace(b"danger", b"note")):
        file.write_bytes(damaged)
        assert judged(compiler, "ADDED", kept=tmp_path) == first
    file.unlink()
    forged = judged(compiler, "FIXED", kept=tmp_path)
    assert forged.verdict is Verdict.LIKELY
    [likely] = (tmp_path / "survival").iterdir()
    likely.rename(file)
    file.chmod(0o666)
    assert judged(compiler, "ADDED", kept=tmp_path) == first
