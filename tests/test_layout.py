"""The promises that hold for the tree as a whole."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from support.error_tree import error_classes


def test_every_error_class_has_an_exit_code_of_its_own() -> None:
    codes = sorted(c.exit_code for c in error_classes())
    assert codes[0] > 1, "0 is success and 1 a fault of ours"
    assert all(a != b for a, b in pairwise(codes))


def test_version_is_answered_without_typer() -> None:
    code = (
        "import sys; sys.argv[1:]=['--version']; from libswap.__main__ import main; main();"
        " sys.exit('typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("libswap 0.")


def test_the_generated_reference_is_what_the_program_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_page_is_reached_from_the_index() -> None:
    docs = Path(__file__).parents[1] / "docs"
    reached, todo = set(), [docs / "index.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            todo += [
                (page.parent / link).resolve()
                for link in re.findall(r"\]\(([^)#:\s]+)", page.read_text())
            ]
    lost = set(docs.rglob("*.md")) - reached
    assert not lost, "docs/index.md must lead to them"


def test_every_test_that_a_page_names_exists() -> None:
    root = Path(__file__).parents[1]
    tests = "".join(file.read_text() for file in (root / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))
    for page in (root / "docs").rglob("*.md"):
        text = page.read_text()
        assert set(re.findall(r"`(test_\w+)`", text)) <= known, page
        for path in re.findall(r"`(tests/[\w/]+\.py)`", text):
            assert (root / path).exists(), page
