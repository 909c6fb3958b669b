#!/usr/bin/python
"""Move running processes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: live
short_description: Move running processes onto the library that is installed
description:
  - Does what C(libswap live) does. A process that cannot be moved safely is left as it is.
version_added: 0.1.0
author:
  - The libswap developers (@libswap)
extends_documentation_fragment:
  - libswap.fleet.tool
options:
  library:
    description: The library, by the name that processes know.
    type: path
    required: true
  pids:
    description: Only these processes.
    type: list
    elements: int
    default: []
  wait:
    description: Seconds to wait for a safe moment in each process.
    type: float
    default: 5.0
  relaxed:
    description: Let calls that are running end in the old code.
    type: bool
    default: false
  check:
    description: A command that must succeed after each process, else that one is moved back.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Move what runs
  libswap.fleet.live:
    library: /usr/lib/x86_64-linux-gnu/libfoo.so.1
"""

RETURN = r"""
libswap:
  description: The result of C(libswap live --json), with an outcome for each process.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libswap.fleet.plugins.module_utils import tool


def main():
    options = dict(
        tool.OPTIONS,
        library={"type": "path", "required": True},
        pids={"type": "list", "elements": "int", "default": []},
        wait={"type": "float", "default": 5.0},
        relaxed={"type": "bool", "default": False},
        check={"type": "str", "default": ""},
    )
    module = AnsibleModule(options, supports_check_mode=True)
    result, code = tool.run(module, "live", *_words(module))
    told = {"changed": tool.moved(result), "libswap": result}
    if code:
        module.fail_json(msg=tool.failure(result, code), rc=code, **told)
    module.exit_json(**told)


def _words(module):
    params = module.params
    words = ["--dry-run"] if module.check_mode else []
    words += ["--pid={0}".format(pid) for pid in params["pids"]]
    words += ["--wait={0}".format(params["wait"])]
    words += ["--relaxed"] if params["relaxed"] else []
    words += ["--check=" + params["check"]] if params["check"] else []
    return [*words, "--", params["library"]]


if __name__ == "__main__":
    main()
