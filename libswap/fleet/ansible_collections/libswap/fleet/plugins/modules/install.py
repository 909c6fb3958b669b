#!/usr/bin/python
"""Replace a library."""

from __future__ import annotations

DOCUMENTATION = r"""
module: install
short_description: Replace a shared library without breaking the programs that use it
description:
  - Installs a library of the controller under a name on the machine, as C(libswap install) does.
    The name stands for the whole old or the whole new file at any moment, and the old file is kept.
  - Refuses a library that cannot stand in for the old one.
  - With O(live=true) running processes are moved onto the new library.
version_added: 0.1.0
author:
  - The libswap developers (@libswap)
extends_documentation_fragment:
  - libswap.fleet.tool
options:
  src:
    description: The new library, on the controller.
    type: path
    required: true
  src_sha256:
    description:
      - Its SHA-256. The task fails where O(src) has another.
      - Computed on the controller when it is not given.
    type: str
  dest:
    description: The library that it replaces on the machine, a link to one, or a directory.
    type: path
    required: true
  live:
    description: Whether running processes are moved onto the new library.
    type: bool
    default: false
  check:
    description:
      - With O(live=true), a command that must succeed after each process was moved. If it fails,
        all are moved back and the file is taken back.
    type: str
    default: ""
  force:
    description: Go on in spite of what C(libswap install --force) goes on in spite of.
    type: bool
    default: false
seealso:
  - module: libswap.fleet.rollback
"""

EXAMPLES = r"""
- name: Replace a library and move what runs
  libswap.fleet.install:
    src: libfoo.so.1.2
    dest: /usr/lib/x86_64-linux-gnu/libfoo.so.1
    live: true
    check: systemctl is-active foo.service
"""

RETURN = r"""
libswap:
  description: The result of C(libswap install --json).
  returned: unless the machine had the same bytes already
  type: dict
operation:
  description: The id of the operation, for M(libswap.fleet.rollback).
  returned: replaced and not in check mode
  type: str
replaced:
  description: Whether the file is changed; else it had these bytes, and only processes are moved.
  returned: unless the machine had the same bytes already
  type: bool
affected:
  description: The processes that ran the old library.
  returned: always
  type: list
  elements: int
sha256:
  description: The digest of the library on the machine.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libswap.fleet.plugins.module_utils import tool


def main():
    options = dict(
        tool.OPTIONS,
        src={"type": "path", "required": True},
        src_sha256={"type": "str"},
        dest={"type": "path", "required": True},
        live={"type": "bool", "default": False},
        check={"type": "str", "default": ""},
        force={"type": "bool", "default": False},
    )
    module = AnsibleModule(options, supports_check_mode=True)
    result, code = tool.run(module, "install", *_words(module))
    plan = _plan(result)
    transaction = plan["transaction"]
    operation = result.get("operation") or result.get("installed", {}).get("operation")
    told = {
        "changed": bool(transaction["changes"]) or tool.moved(result),
        "replaced": bool(transaction["changes"]),
        "sha256": module.params["src_sha256"],
        "affected": [user["process"]["identity"]["pid"] for user in plan["usage"]["users"]],
        "libswap": result,
        "diff": tool.changes(transaction),
    }
    if operation:
        told["operation"] = operation["transaction"]["id"]
    if code:
        module.fail_json(msg=tool.failure(result, code), rc=code, **told)
    module.exit_json(**told)


def _words(module):
    params = module.params
    words = ["--dry-run"] if module.check_mode else ["--yes"]
    words += ["--force"] if params["force"] else []
    words += ["--live"] if params["live"] else []
    words += ["--check=" + params["check"]] if params["check"] else []
    return [*words, "--", tool.brought(module), params["dest"]]


def _plan(result):
    """The plan of the files, which lies within the result of what was done."""
    while "transaction" not in result:
        result = result["plan"]
    return result


if __name__ == "__main__":
    main()
