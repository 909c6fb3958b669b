#!/usr/bin/python
"""May a library stand in for another?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: check
short_description: Tell whether a library can stand in for one that a machine has
description:
  - Compares as C(libswap check) does, for the processes that run on the machine. Changes nothing.
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
    description: The library on the machine.
    type: path
    required: true
  strict:
    description: Whether warnings fail the task too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Would it do?
  libswap.fleet.check:
    src: libfoo.so.1.2
    dest: /usr/lib/x86_64-linux-gnu/libfoo.so.1
"""

RETURN = r"""
libswap:
  description: The result of C(libswap check --json).
  returned: success
  type: dict
verdict:
  description: One of identical, compatible, compatible with warnings, incompatible.
  returned: success
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
        strict={"type": "bool", "default": False},
    )
    module = AnsibleModule(options, supports_check_mode=True)
    words = ["--strict"] if module.params["strict"] else []
    words += ["--", module.params["dest"], tool.brought(module)]
    result, code = tool.run(module, "check", *words)
    told = {"changed": False, "libswap": result, "verdict": result["verdict"]}
    if code:
        reasons = [finding["message"] for finding in result["findings"][:5]]
        module.fail_json(msg="; ".join([result["verdict"], *reasons]), rc=code, **told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
