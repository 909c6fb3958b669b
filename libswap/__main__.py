"""`libswap` and `python -m libswap`: answers --version before anything heavy is imported."""

import sys

from libswap import __version__


def main() -> int:
    """Run the command line on `sys.argv`; returns the exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"libswap {__version__}\n")
        return 0
    from libswap.cli.app import run  # noqa: PLC0415  typer costs more than the answer above

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
