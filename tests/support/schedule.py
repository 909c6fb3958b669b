"""Which worker of pytest-xdist gets which test: whichever is free, the slow ones first."""

from typing import Any, Final

import pytest
from xdist.scheduler import LoadFileScheduling

_TOGETHER: Final = (
    "fleet/test_hosts.py", "operations/test_demo.py", "scan/test_systemd.py", "test_packaging.py",
    "watch/test_systemd.py",
)  # fmt: skip
"""The tests of each share what takes longer to make than to use."""


class OneByOne(LoadFileScheduling):
    """The order is that of the collection: at the end nobody waits long for another."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return file if file.endswith(_TOGETHER) else nodeid
