"""`libswap` and `python -m libswap`: answers --version before anything heavy is imported."""

import sys

from libswap import __version__
from libswap.errors import LibswapError, ReaderGone
from libswap.report import output
from libswap.report.console import ConsoleReporter


def main() -> int:
    """Run the command line on `sys.argv`; returns the exit code."""
    output.guard()
    try:
        return _answer(sys.argv[1:])
    except ReaderGone as gone:
        return gone.exit_code
    except LibswapError as error:
        ConsoleReporter().error(error)
        return error.exit_code


def _answer(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        sys.stdout.write(f"libswap {__version__}\n")
        sys.stdout.flush()
        return 0
    from libswap.cli import direct  # noqa: PLC0415  typer costs more than the answer above

    if words in direct.LINES:
        return direct.run(words)
    from libswap.cli.app import run  # noqa: PLC0415

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
