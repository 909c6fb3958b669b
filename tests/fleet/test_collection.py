"""The collection, run by Ansible on this machine: what it refuses before anything is done."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from libswap.fleet.ansible import COLLECTIONS

pytest.importorskip("ansible_runner")

PLAYBOOKS: Final = COLLECTIONS / "ansible_collections/libswap/fleet/playbooks"


def ansible(program: str, tmp_path: Path, *words: str | Path) -> str:
    """What a program of Ansible says, and that on this machine it did what it says."""
    environment = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
    }  # fmt: skip
    line = [Path(sys.executable).parent / program, "-i", "here,", "-c", "local", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    return done.stdout + done.stderr


def module(name: str, tmp_path: Path, tool: str = "none", **params: object) -> str:
    """What a module says, with a program in place of the archive."""
    archive = tmp_path / "libswap.pyz"
    archive.write_text(tool)
    params |= {"tool": archive, "tool_dir": tmp_path / "kept"}
    said = " ".join(f"{key}={value}" for key, value in params.items())
    python = f"ansible_python_interpreter={sys.executable}"
    words = ("here", "-e", python, "-m", f"libswap.fleet.{name}", "-a", said)
    return ansible("ansible", tmp_path, *words)


@pytest.mark.parametrize("name", ["preflight", "upgrade", "rollback"])
def test_a_playbook_without_its_machines_has_none(tmp_path: Path, name: str) -> None:
    said = ansible("ansible-playbook", tmp_path, f"libswap.fleet.{name}")
    assert "no hosts matched" in said
    assert "TASK" not in said


def test_the_look_beforehand_asks_for_what_will_be_done() -> None:
    """Of processes too: a machine with the new file may still run the old one."""
    look, upgrade = (
        import_module("yaml").safe_load((PLAYBOOKS / name).read_text())
        for name in ("preflight.yml", "upgrade.yml")
    )
    asked, done = look[0]["tasks"][0], upgrade[0]["tasks"][0]["block"][0]
    assert asked["libswap.fleet.install"] == done["libswap.fleet.install"]


def test_processes_are_moved_back_only_where_the_library_is_named(tmp_path: Path) -> None:
    said = module("rollback", tmp_path, operation="20260102-030405-abcdef01", revert=True)
    assert "revert is True but all of the following are missing: dest" in said


def test_a_process_that_cannot_be_moved_back_is_no_success(tmp_path: Path) -> None:
    tool = """
import json, sys
live = sys.argv[1] == "live"
stays = {"pid": 7, "outcome": {"kind": "Refused", "reason": "no safe moment"}}
result = {"processes": [stays]} if live else {"transaction": {"changes": []}}
print(json.dumps({"error": None, "result": result}))
sys.exit(66 if live else 0)
"""
    said = module("rollback", tmp_path, tool, dest=tmp_path / "libx.so.1", revert=True)
    assert "FAILED" in said
    assert "the file is back, and not all processes" in said
    assert "process 7: no safe moment" in said


def test_a_library_that_was_built_anew_since_the_question_is_not_installed(tmp_path: Path) -> None:
    new, place = tmp_path / "new.so", tmp_path / "libx.so.1"
    new.write_bytes(b"built anew")
    params = {"libswap_machines": ["here"], "libswap_batches": [1], "libswap_src": str(new),
              "libswap_sha256": "0" * 64, "libswap_dest": str(place), "libswap_health": [],
              "libswap_batch_health": [], "libswap_become": False, "libswap_live": False,
              "libswap_force": False, "libswap_tool": str(new), "libswap_keep_tool": False,
              "libswap_operations": {"here": ""}, "libswap_again": []}  # fmt: skip
    place.touch()
    said = ansible("ansible-playbook", tmp_path, "libswap.fleet.upgrade", "-e", json.dumps(params))
    assert "has other bytes than were agreed upon" in said


def test_no_operation_is_none_that_could_be_taken_back(tmp_path: Path) -> None:
    (tmp_path / "libx.so.1").touch()
    said = module("rollback", tmp_path, dest=tmp_path / "libx.so.1", operation="")
    assert "nothing was installed that could be taken back" in said
