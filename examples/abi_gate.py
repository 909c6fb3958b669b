"""Fail a build whose library breaks the programs of the last release.

    python examples/abi_gate.py RELEASED BUILT

Prints one line for each finding that matters, in the form that compilers use and editors know.
"""

import sys

import libswap


def main(released: str, built: str) -> int:
    """Compare; 1 where programs would break."""
    result = libswap.check(released, built)
    for finding in result.findings:
        if finding.severity is not libswap.FindingSeverity.NOTE:
            change = f"{finding.old or '-'} -> {finding.new or '-'}"
            what = f"{finding.rule} {finding.subject!a} ({change!a})"
            print(f"{built}: {finding.severity.value}: {what}: {finding.meaning}")
    print(f"{built}: {result.verdict.value}")
    return 1 if result.verdict is libswap.Verdict.INCOMPATIBLE else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
