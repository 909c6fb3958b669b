"""Copies of the records of processes, in a state directory that containers may share."""

import os
from pathlib import Path

import pytest

from libswap.operations.outside import forget_ended
from libswap.process.identity import Identity, boot_time

OURS = Path("/proc/self/ns/pid").stat().st_ino
LIVING = Identity.of(os.getpid())
HERE = f"{LIVING.pid}-{LIVING.start_time}"


@pytest.mark.parametrize(
    ("name", "old", "stays"),
    [
        (f"{HERE}-{OURS}.json", False, True),
        (f"{HERE}.json", False, True),
        (f"{LIVING.pid}-{LIVING.start_time + 1}-{OURS}.json", False, False),
        (f"{LIVING.pid}-{LIVING.start_time + 1}-{OURS + 1}.json", False, True),
        (f"{HERE}-{OURS + 1}.json", True, False),
        ("leftover.new", False, False),
    ],
    ids=["ours", "without a namespace", "ended", "of a container", "before the boot", "no copy"],
)
def test_only_what_is_known_to_have_ended_is_forgotten(
    tmp_path: Path, name: str, *, old: bool, stays: bool
) -> None:
    directory = tmp_path / "live"
    directory.mkdir()
    file = directory / name
    file.write_text("{}")
    if old:
        os.utime(file, (boot_time() - 60,) * 2)
    forget_ended(tmp_path)
    assert file.exists() == stays
