"""A plugin of dnf 4, for its directory dnf-plugins: after each transaction, libswap's hook."""

import subprocess

import dnf

HOOK = "/usr/lib/libswap/after-upgrade"


class Libswap(dnf.Plugin):
    """Says who still runs replaced libraries."""

    name = "libswap"

    def transaction(self):
        """Called when packages have been installed, upgraded or removed."""
        try:
            subprocess.run([HOOK], check=False)
        except OSError:
            pass  # the hook is not installed (any more)
