"""`python -m docs.generate [--check]`: what is made from the program."""

import sys
from pathlib import Path

from docs.generate.api import api
from docs.generate.commands import commands
from docs.generate.completions import completions
from docs.generate.configuration import configuration
from docs.generate.manual import manual
from docs.generate.scenarios import scenarios
from docs.generate.schema import schema

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Write what is not current; with --check only name it, and fail."""
    reference = {
        "api.md": api(),
        "commands.md": commands(),
        "configuration.md": configuration(),
        "json-schema.json": schema(),
        "scenarios.md": scenarios(),
    }
    places = {
        "docs/reference": reference,
        "packaging/man": manual(),
        "packaging/completions": completions(),
    }
    files = {ROOT / p / name: text for p, texts in places.items() for name, text in texts.items()}
    stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"{file.name} is not what the program is; run: make docs\n")
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(files[file])
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
