"""Run the libswap that was brought to this machine, after its digest has been verified."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time

OPTIONS = {
    "tool": {"type": "path"},
    "tool_dir": {"type": "path", "default": "/var/lib/libswap/tool"},
    "keep_tool": {"type": "bool", "default": True},
    "tool_sha256": {"type": "str"},
    "state_dir": {"type": "path"},
}
PYTHON = (3, 11)
DAY = 86400
ARCHIVE = re.compile(r"[0-9a-f]{64}\.pyz(\.[a-z0-9_]{8})?")  # the latter: not written to its end


def run(module, command, *words):
    """Run one command of libswap; what it cannot do ends the task.

    Returns:
        The result of its JSON document (docs/reference/json-schema.json), and its exit code.
    """
    state = module.params["state_dir"]
    options = ["--state-dir=" + state] if state else []
    line = [sys.executable, "-I", "-S", _tool(module), command, "--json"] + options + list(words)
    code, out, err = module.run_command(line, errors="surrogateescape")
    try:
        document = json.loads(out)
        error, result = document["error"], document["result"]
    except (ValueError, KeyError, TypeError):
        module.fail_json(msg="libswap gave no answer", rc=code, stdout=out, stderr=err)
    if result is None:
        module.fail_json(
            msg=(error["message"] + ". " + error["hint"]).strip(),
            rc=code,
            libswap_error=error,
        )
    return result, code


def changes(transaction):
    """What a transaction changes, as before and after of a diff."""
    return [
        {
            "before_header": _path(change),
            "after_header": _path(change),
            "before": _told(change["before"]),
            "after": _told(change["after"]),
        }
        for change in transaction["changes"]
    ]


def _path(change):
    return os.path.join(change["directory"], change["name"])


def _told(file):
    if file is None or "sha256" not in file:
        return ""
    return "sha256 {sha256}\nbuild id {build_id}\nsize {size}\n".format(**file)


def _tool(module):
    """The path of the archive, whose bytes are those that the controller meant."""
    if sys.version_info < PYTHON:
        module.fail_json(
            msg="libswap needs Python 3.11 or later on the machine, this is "
            + sys.version.split()[0]
            + "; set ansible_python_interpreter to a newer one"
        )
    given, wanted = module.params["tool"], module.params["tool_sha256"]
    if not given or not wanted:
        module.fail_json(msg="the action plugin of libswap.fleet did not bring an archive")
    directory = module.params["tool_dir"]
    kept = os.path.join(directory, wanted + ".pyz")
    if given == kept:
        _require_own(module, directory)
    try:
        with open(given, "rb") as file:
            data = file.read()
    except OSError as error:
        module.fail_json(msg="cannot read the libswap archive: " + str(error))
    if hashlib.sha256(data).hexdigest() != wanted:
        module.fail_json(msg="the libswap archive on the machine is not the one that was sent")
    if not module.params["keep_tool"]:
        return given
    if given != kept:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _require_own(module, directory)
        _write(kept, data)
        _forget(directory, kept)
    _require_own(module, directory)
    return kept


def _require_own(module, directory):
    """Nobody else may put a file there."""
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        module.fail_json(msg=directory + " is not a directory of ours that only we may write to")


def _forget(directory, kept):
    """Remove archives of earlier versions, but not one that another task may have just brought.

    Nothing else: the directory is whichever the task names.
    """
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError):  # another task removes them too
            old = time.time() - os.lstat(path).st_mtime > DAY
            if old and path != kept and ARCHIVE.fullmatch(name):
                os.unlink(path)


def _write(path, data):
    """Whole or not at all."""
    number, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path) + ".")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, path)
    except OSError:
        os.unlink(name)
        raise


def brought(module):
    """The library that was brought, as a file that only we can write to and that has its digest."""
    given, wanted = module.params["src"], module.params["src_sha256"]
    if not wanted:
        module.fail_json(msg="the action plugin of libswap.fleet did not bring " + given)
    path = os.path.join(tempfile.mkdtemp(prefix="libswap-", dir=module.tmpdir), "source")
    shutil.copyfile(given, path)
    with open(path, "rb") as file:
        if hashlib.sha256(file.read()).hexdigest() != wanted:
            module.fail_json(msg="the library on the machine is not the one that was sent")
    return path


def moved(result):
    """Whether a process was moved, or would be."""
    outcomes = [one["outcome"]["kind"] for one in result.get("processes", [])]
    return any(kind in ("Moved", "MovedBack", "StillMoved", "Planned") for kind in outcomes)


def failure(result, code):
    """Why something was not done, in one line."""
    reasons = [result.get("failure") or "libswap ended with exit code {0}".format(code)]
    for one in result.get("processes", []):
        if one["outcome"].get("reason"):
            reasons.append("process {0}: {1}".format(one["pid"], one["outcome"]["reason"]))
    return "; ".join(reasons)


def services(users):
    """The services of processes, with the line that restarts each."""
    found = {}
    for user in users:
        service = user["process"]["service"]
        one = {"name": service["name"], "restart": service["restart"], "pids": []}
        found.setdefault((service["kind"], service["name"]), one)["pids"].append(
            user["process"]["identity"]["pid"]
        )
    return [found[key] for key in sorted(found)]
