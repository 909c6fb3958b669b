"""Measurements, each a module with `run() -> tuple[Section, ...]`; pytest collects none of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: `from support...` works here
