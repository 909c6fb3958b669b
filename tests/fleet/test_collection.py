"""The collection, run by Ansible on this machine: what it refuses before anything is done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libswap.fleet.ansible import COLLECTIONS

pytest.importorskip("ansible_runner")


def ansible(program: str, tmp_path: Path, *words: str | Path) -> str:
    """What a program of Ansible says, and that on this machine it did what it says."""
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
    }  # fmt: skip
    line = [Path(sys.executable).parent / program, "-i", "here,", "-c", "local", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["preflight", "upgrade", "rollback"])
def test_a_playbook_without_its_machines_has_none(tmp_path: Path, name: str) -> None:
    said = ansible("ansible-playbook", tmp_path, f"libswap.fleet.{name}")
    assert "no hosts matched" in said
    assert "TASK" not in said
