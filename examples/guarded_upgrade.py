"""Install a library, ask whether the service is well, and take everything back where it is not.

    python examples/guarded_upgrade.py NEW DEST COMMAND...

COMMAND restarts the service and looks at it, for example: sh -c 'systemctl restart web && curl …'
"""

import subprocess
import sys

import libswap


def main(new: str, destination: str, *health: str, settings: libswap.Settings | None = None) -> int:
    """Upgrade; 0 where the new library stays, 1 where the old one is back, 2 for a refusal."""
    try:
        done = libswap.install_library(new, destination, settings=settings)
    except libswap.LibswapError as refused:
        print(f"{refused.message} {refused.hint}".strip())
        return 2
    if done.operation is None:
        print("nothing to do")
        return 0
    if subprocess.run(health, check=False).returncode == 0:
        print("upgraded")
        return 0
    libswap.rollback(done.operation.transaction.id, yes=True, settings=settings)
    subprocess.run(health, check=False)  # the service comes back with the old library
    print("taken back")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
