"""Name the services that still run a replaced library, with the line that restarts each.

    python examples/stale_processes.py

Exit code 1 where there is one, which suits cron and timers.
"""

import sys

import libswap


def main() -> int:
    """Report, and say by the exit code whether somebody should act."""
    found = libswap.scan_machine()
    for service, users in ((group.service, group.users) for group in found.groups):
        libraries = {use.path for user in users for use in user.uses if use.stale}
        print(ascii(service.name or "no service"), "runs replaced files:")
        for path in sorted(libraries):
            print("  ", ascii(path))  # file names belong to strangers
        print("   PID", ", ".join(str(user.process.identity.pid) for user in users))
        print("   do:", service.restart or service.advice)
    return 1 if found.groups else 0


if __name__ == "__main__":
    sys.exit(main())
