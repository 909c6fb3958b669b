"""Options and attributes that all modules of the collection have."""

from __future__ import annotations


class ModuleDocFragment:
    """How libswap comes to the machine."""

    DOCUMENTATION = r"""
options:
  tool:
    description:
      - On the controller, the libswap archive that is brought to the machine.
      - Made from the libswap that is installed on the controller when it is not given.
    type: path
  tool_dir:
    description: Where on the machine the archive is kept, in a directory of root's own.
    type: path
    default: /var/lib/libswap/tool
  keep_tool:
    description: Whether the archive stays there for the next task; else it goes with the task.
    type: bool
    default: true
  tool_sha256:
    description:
      - The SHA-256 of the archive. The machine runs nothing else.
      - Computed on the controller.
    type: str
  state_dir:
    description: Where libswap keeps its journal, history and kept files on the machine.
    type: path
requirements:
  - Python 3.11 or later on the machine
attributes:
  check_mode:
    description: Can run in check mode and tells what would be changed, without changing it.
    support: full
  diff_mode:
    description: Returns what is changed, as the digests and build ids before and after.
    support: full
  platform:
    description: The machines that it works on.
    platforms: linux
    support: full
"""
