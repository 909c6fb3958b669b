"""Pages that are zeros because nobody has ever written to them: PAGEMAP_SCAN of pagemap.

Source: `struct pm_scan_arg` in include/uapi/linux/fs.h, Linux 6.7 and later.
"""

import ctypes
import fcntl
import os
import struct
from typing import Final

_REQUEST: Final = 0xC0606610
"""_IOWR('f', 16, struct pm_scan_arg)."""
_ARGUMENTS: Final = struct.Struct("=12Q")
_REGION: Final = struct.Struct("=3Q")
_MOST_REGIONS: Final = 256
_PAGE: Final = 4096
_ZEROS: Final = 1 << 5
"""PAGE_IS_PFNZERO: the one page of zeros that all share who have only read."""


class Untouched:
    """Asks the kernel for them; where it cannot tell there are none."""

    def __init__(self, tid: int) -> None:
        """Open it through a thread that has not exited; it is tied to its address space."""
        self._regions: Final = ctypes.create_string_buffer(_REGION.size * _MOST_REGIONS)
        try:
            self._descriptor = os.open(f"/proc/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._descriptor = -1

    def close(self) -> None:
        """Give up the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The first of them between two addresses, neighbours together: start and end of each."""
        first, behind = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
        if self._descriptor < 0 or first >= behind:
            return []
        asked = bytearray(_ARGUMENTS.pack(
            _ARGUMENTS.size, 0, first, behind, 0, ctypes.addressof(self._regions), _MOST_REGIONS,
            0, 0, _ZEROS, 0, _ZEROS,
        ))  # fmt: skip
        try:
            count = fcntl.ioctl(self._descriptor, _REQUEST, asked)
        except OSError:
            return []
        told = _REGION.iter_unpack(self._regions.raw[: count * _REGION.size])
        return [(begin, stop) for begin, stop, _ in told]
