"""The hard situations that a live swap is tried against, read from the tests that try them."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
HEAD = """# Hard situations

What a live swap does in each, as the tests in `tests/scenarios` show it on compiled programs that
run. This page is made from their `scenario` markers by `make docs`.

| group | situation | live swap | shown by |
|---|---|---|---|
"""


def scenarios() -> str:
    """The page."""
    files = sorted((ROOT / "tests/scenarios").glob("test_*.py"))
    rows = [row for file in files for row in _rows(file)]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in sorted(set(rows)))


def _rows(file: Path) -> Iterator[tuple[str, str, str, str]]:
    for name, test in vars(_module(file)).items():
        for mark in getattr(test, "pytestmark", ()):
            if name.startswith("test_") and mark.name == "scenario":
                group, situations = mark.args
                for situation in situations:
                    yield group, situation, mark.kwargs["live"], f"`{name}`"


def _module(file: Path) -> ModuleType:
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.pop(0)
