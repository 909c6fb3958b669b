"""Real servers under load, while all that libswap does is done to them and libswap is killed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest does: `from support...` works here
