"""`libswap` and `python -m libswap`: answers --version before anything heavy is imported."""

import os
import sys

from libswap import __version__


def main() -> int:
    """Run the command line on `sys.argv`; returns the exit code."""
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]) and _version_is_said():
        return 0
    from libswap.report import output  # noqa: PLC0415  costs more than the answer above

    output.guard()
    from libswap.cli import direct  # noqa: PLC0415

    if words in direct.LINES:
        return direct.run(words)
    from libswap.cli.app import run  # noqa: PLC0415  typer costs as much as a scan

    return run(words)


def _version_is_said() -> bool:
    """Write the version straight to the descriptor; what fails here is said by the long road."""
    line = f"libswap {__version__}\n".encode()
    try:
        return os.write(1, line) == len(line)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
