"""What the action plugins share: bring libswap and the library, by digest, then run the module."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tempfile

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Carrier(ActionBase):
    """Runs the module of the same name with the archive, and with the source if it has one."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    MODULE = ""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        del tmp
        args = dict(self._task.args)
        self._made = ""
        try:
            archive, digest = self._archive(args.get("tool"))
            source = self._find_needle("files", args["src"]) if args.get("src") else ""
            place = os.path.join(args.get("tool_dir") or "/var/lib/libswap/tool", digest + ".pyz")
            kept, there = self._digests(place, args.get("dest", ""))
            if source:
                args["src_sha256"] = _agreed(source, args.get("src_sha256"))
                if self.unchanged_if(args) and there == args["src_sha256"]:
                    result.update(changed=False, sha256=there)
                    return result
                args["src"] = self._carry(source, "source-" + os.path.basename(source))
            args["tool"] = place if kept == digest else self._carry(archive, "libswap.pyz")
            args["tool_sha256"] = digest
            result.update(
                self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
            if self._made:
                os.unlink(self._made)
        return result

    def unchanged_if(self, args):
        """Whether nothing is to be done where the destination has the digest of the source."""
        return False

    def _archive(self, given):
        """The archive on the controller, and its digest."""
        if given:
            path = self._find_needle("files", given)
            return path, _sha256(path)
        return self._make()

    def _make(self):
        """An archive of the libswap that is installed here, for as long as the task takes."""
        try:
            from libswap.fleet.bundle import bundle
        except ImportError as error:
            raise AnsibleActionFail(
                "libswap is not installed for the Python that runs Ansible ({0}); give the task"
                " tool: PATH, an archive made by `libswap fleet bundle`".format(error)
            )
        made = bundle()
        number, self._made = tempfile.mkstemp(suffix=".pyz")
        with os.fdopen(number, "wb") as file:
            file.write(made.data)
        return self._made, made.sha256

    def _digests(self, *paths):
        """The SHA-256 of files on the machine, "" for what cannot be read, in one round trip."""
        one = "test -f {0} && sha256sum < {0} 2>/dev/null || echo -"  # a pipe would never end
        line = "; ".join(one.format(shlex.quote(path or "/")) for path in paths)
        said = self._low_level_execute_command(line).get("stdout_lines", [])
        found = [word.split()[0] if word.split() else "" for word in said]
        found = [word if _DIGEST.fullmatch(word) else "" for word in found]
        return (found + [""] * len(paths))[: len(paths)]

    def _carry(self, path, name):
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        remote = shell.join_path(shell.tmpdir, name)
        self._transfer_file(path, remote)
        self._fixup_perms2((shell.tmpdir, remote))
        return remote


def _agreed(source, wanted):
    """The digest of the source; another than was agreed upon is a file that has changed since."""
    found = _sha256(source)
    if wanted and wanted != found:
        raise AnsibleActionFail(
            "{0} has other bytes than were agreed upon: SHA-256 {1}, not {2}".format(
                source, found, wanted
            )
        )
    return found


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
