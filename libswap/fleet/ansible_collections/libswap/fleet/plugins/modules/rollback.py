#!/usr/bin/python
"""Take an installation back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Put back the library that an installation replaced
description:
  - Does what C(libswap rollback) does.
  - With O(sha256) the newest change of O(dest) is taken back only while the library has that
    digest, so that the task can be repeated.
version_added: 0.1.0
author:
  - The libswap developers (@libswap)
extends_documentation_fragment:
  - libswap.fleet.tool
options:
  dest:
    description: The library whose newest change is taken back.
    type: path
  operation:
    description:
      - The operation that is taken back; an empty one is none, and nothing is done.
      - With O(dest) and O(sha256) it is taken back only while the library has that digest.
    type: str
  sha256:
    description: With O(dest), the digest that was installed and is to go.
    type: str
  revert:
    description:
      - Whether processes are moved back onto the old library then.
      - Needs O(dest).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Take it back
  libswap.fleet.rollback:
    dest: /usr/lib/x86_64-linux-gnu/libfoo.so.1
"""

RETURN = r"""
libswap:
  description: The result of C(libswap rollback --json).
  returned: changed
  type: dict
"""

import hashlib

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libswap.fleet.plugins.module_utils import tool


def main():
    options = dict(
        tool.OPTIONS,
        dest={"type": "path"},
        operation={"type": "str"},
        sha256={"type": "str"},
        revert={"type": "bool", "default": False},
    )
    module = AnsibleModule(
        options,
        supports_check_mode=True,
        required_one_of=[("dest", "operation")],
        required_by={"sha256": ["dest"]},
        required_if=[("revert", True, ("dest",))],
    )
    if module.params["operation"] == "":
        module.exit_json(changed=False, msg="nothing was installed that could be taken back")
    if module.params["sha256"] and _digest(module) != module.params["sha256"]:
        module.exit_json(changed=False, msg="it holds other bytes already")
    words = ["--dry-run"] if module.check_mode else ["--yes"]
    words += ["--", module.params["operation"] or module.params["dest"]]
    result, code = tool.run(module, "rollback", *words)
    plan = result.get("plan", result)
    told = {
        "changed": bool(plan["transaction"]["changes"]),
        "libswap": result,
        "diff": tool.changes(plan["transaction"]),
    }
    if code:
        module.fail_json(msg=tool.failure(result, code), rc=code, **told)
    if not module.check_mode and module.params["revert"]:
        told["live"], code = tool.run(module, "live", "--", module.params["dest"])
        if code:
            msg = "the file is back, and not all processes: " + tool.failure(told["live"], code)
            module.fail_json(msg=msg, rc=code, **told)
    module.exit_json(**told)


def _digest(module):
    try:
        with open(module.params["dest"], "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        module.fail_json(msg="cannot read {0}: {1}".format(module.params["dest"], error))


if __name__ == "__main__":
    main()
