from pathlib import Path

import pytest

from support.compiler import Compiler
from support.dropping import Drop


@pytest.fixture
def drop(compiler: Compiler, tmp_path: Path) -> Drop:
    return Drop(compiler, tmp_path / "scene")
