#!/usr/bin/python
"""Who runs a replaced library."""

from __future__ import annotations

DOCUMENTATION = r"""
module: scan
short_description: Tell which processes use a library, or still run a replaced one
description:
  - Looks as C(libswap scan) does, and changes nothing.
version_added: 0.1.0
author:
  - The libswap developers (@libswap)
extends_documentation_fragment:
  - libswap.fleet.tool
options:
  libraries:
    description: Paths of libraries, or bare names. Without any, all that was replaced counts.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Who must be restarted?
  libswap.fleet.scan:
  register: stale

- name: Who uses this one?
  libswap.fleet.scan:
    libraries: [libssl.so.3]
"""

RETURN = r"""
libswap:
  description: The result of C(libswap scan --json).
  returned: success
  type: dict
services:
  description: The services that processes belong to, with the line that restarts each.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The unit, container or script, empty where none is known.
      type: str
    restart:
      description: The line that restarts it, empty where there is none.
      type: str
    pids:
      description: The processes.
      type: list
      elements: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libswap.fleet.plugins.module_utils import tool


def main():
    options = dict(tool.OPTIONS, libraries={"type": "list", "elements": "str", "default": []})
    module = AnsibleModule(options, supports_check_mode=True)
    result, _code = tool.run(module, "scan", "--", *module.params["libraries"])
    users = result.get("users")
    if users is None:
        users = [user for group in result["groups"] for user in group["users"]]
    module.exit_json(changed=False, libswap=result, services=tool.services(users))


if __name__ == "__main__":
    main()
