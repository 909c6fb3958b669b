"""The hard situations that swaps and patches are tried against, read from the tests of them."""

import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
HEAD = """# Hard situations

What a live swap and a function patch do in each, as tests show it on compiled programs that run.
For a drop directory and a fleet it is what the watcher, or a machine, does. An empty field means
that no test says it. This page is made from the `scenario` markers of the tests by `make docs`.

| group | situation | live swap | function patch | shown by |
|---|---|---|---|---|
"""

NOT_TRIED = {
    ("processes", "UPX-packed"): "Debian 12 has no upx",
    ("processes", "oom"): "the kernel's choice of a victim cannot be confined to a test",
    ("undo", "after hours"): "nothing in the record or in the process ages; see the clock jump",
}
"""What no test can show on the machines that tests are made for, and why."""


def scenarios() -> str:
    """The page."""
    shown: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for file in sorted((ROOT / "tests").glob("*/test_*.py")):
        if "scenario" in file.read_text():
            for key, answers in _rows(file):
                shown[key].append(answers)
    for key, why in NOT_TRIED.items():
        shown[key].append((f"cannot be tried here: {why}", "", ""))
    return HEAD + "".join(_line(*key, shown[key]) for key in sorted(shown))


def _line(group: str, situation: str, shown: list[tuple[str, str, str]]) -> str:
    """All that tests say of one situation, in one row."""
    columns = (
        "; ".join(dict.fromkeys(filter(None, column))) for column in zip(*shown, strict=True)
    )
    return f"| {group} | {situation} | {' | '.join(columns)} |\n"


def _rows(file: Path) -> Iterator[tuple[tuple[str, str], tuple[str, str, str]]]:
    """(group, situation), and what the one, the other and which test say of it."""
    for name, test in vars(_module(file)).items():
        for mark in getattr(test, "pytestmark", ()):
            if name.startswith("test_") and mark.name == "scenario":
                group, situations = mark.args
                answers = (mark.kwargs.get("live", ""), mark.kwargs.get("patch", ""), f"`{name}`")
                assert any(answers[:2]), f"{name} says nothing"
                yield from (((group, situation), answers) for situation in situations)


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
