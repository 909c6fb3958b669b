import json
from pathlib import Path

import pytest

from libswap.cli.app import run
from libswap.errors.base import UsageError
from libswap.errors.patch import CompilerFailed, InvalidPatch, PatchRefused
from support.compiler import Compiler

pytestmark = pytest.mark.compiler

TARGET = """
static __attribute__((noinline)) int limit(int x) { return x > 10 ? 10 : x; }
static inline __attribute__((always_inline)) int half(int x) { return x / 2; }
int (*keep)(int) = half;
int work(int x) { return limit(x) + half(x); }
"""


@pytest.fixture
def library(compiler: Compiler) -> Path:
    return compiler.library(TARGET, "-O2", "-g", "-fno-ipa-ra")


def test_a_source_becomes_a_patch_file_that_show_reads(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "limit.h").write_text("#define LIMIT 20\n")
    source = tmp_path / "fix.c"
    source.write_text('#include "limit.h"\nint limit(int x) { return x > LIMIT * N ? 0 : x; }\n')
    output = tmp_path / "fix.lsp"
    words = ["patch", "build", str(source), "--target", str(library), "-o", str(output)]
    assert run([*words, "--cflags", "-DN=2", "-d", "a higher limit"]) == 0
    assert "replaces limit@source.c" in capsys.readouterr().out
    assert run(["patch", "show", str(output), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["result"]["patch"]
    assert shown["description"] == "a higher limit"
    assert [r["name"] for r in shown["replaced"]] == ["limit"]


def test_an_inlined_copy_and_a_changed_signature_are_risks(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "fix.c", tmp_path / "fix.lsp"
    source.write_text("int half(int x) { return x / 4; } int limit(int x, long y) { return x; }\n")
    words = ["patch", "build", str(source), "--target", str(library), "-o", str(output)]
    assert run(words) == PatchRefused.exit_code
    told = capsys.readouterr().err
    assert "inlined: half@source.c: work" in told
    assert "signature-changed: limit@source.c: its callers call int limit(int)" in told
    assert not output.exists()
    assert run([*words, "--force"]) == 0
    assert output.exists()


def test_a_function_that_was_inlined_everywhere_is_told_from_an_unknown_one(
    compiler: Compiler, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "static int half(int x) { return x / 2; }\nint work(int x) { return half(x); }\n"
    library = compiler.library(text, "-O2", "-g")
    source = tmp_path / "fix.c"
    source.write_text("int half(int x) { return x / 4; }\n")
    assert run(["patch", "build", str(source), "-t", str(library)]) == PatchRefused.exit_code
    assert "inlined: half: there are only copies of it, inside of work" in capsys.readouterr().err


def test_what_the_compiler_says_is_passed_on(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "fix.c"
    source.write_text("int limit(int x) { return y; }\n")
    assert run(["patch", "build", str(source), "-t", str(library)]) == CompilerFailed.exit_code
    assert "undeclared" in capsys.readouterr().err


def test_words_that_make_no_sense_are_usage_errors(library: Path, tmp_path: Path) -> None:
    text = tmp_path / "fix.txt"
    text.write_text("")
    code = UsageError.exit_code
    assert run(["patch", "build", str(text), "-t", str(library)]) == code
    assert run(["patch", "build", str(text), "-t", str(library), "--replace", "x"]) == code


def test_what_is_no_patch_file_is_refused(library: Path) -> None:
    assert run(["patch", "show", str(library)]) == InvalidPatch.exit_code
