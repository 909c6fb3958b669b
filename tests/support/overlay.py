"""A mount namespace whose library directory may be changed while the machine's own stays as is."""

import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

LIBRARIES: Final = Path("/usr/lib") / (sysconfig.get_config_var("MULTIARCH") or "")
"""The directory that the overlay covers."""

# $1: a directory for the upper layer (a tmpfs of the namespace), $2: what is covered.
_SCRIPT: Final = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$2"
echo ready
exec cat
"""


@contextmanager
def overlay(work: Path) -> Iterator[int]:
    """A process in a mount namespace of its own, where `LIBRARIES` is a writable overlay.

    Yields:
        its PID: `nsenter --mount --target=PID` enters the namespace, and /proc/PID/root shows it.
    """
    upper = work / "overlay"
    upper.mkdir()
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", _SCRIPT, "overlay"]
    holder = subprocess.Popen(
        [*command, str(upper), str(LIBRARIES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        _, reason = holder.communicate()
        pytest.skip(f"no overlay over {LIBRARIES} can be mounted here: {reason.strip()}")
    try:
        yield holder.pid
    finally:
        holder.communicate()
