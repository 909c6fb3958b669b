"""`python -m docs.generate [--check]`: the reference that is made from the program."""

import sys
from pathlib import Path

from docs.generate.api import api
from docs.generate.commands import commands
from docs.generate.scenarios import scenarios
from docs.generate.schema import schema

REFERENCE = Path(__file__).parents[1] / "reference"


def main() -> int:
    """Write what is not current; with --check only name it, and fail."""
    texts = {
        "api.md": api(),
        "commands.md": commands(),
        "json-schema.json": schema(),
        "scenarios.md": scenarios(),
    }
    files = {REFERENCE / name: text for name, text in texts.items()}
    stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"{file.name} is not what the program is; run: make docs\n")
        else:
            file.write_text(files[file])
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
