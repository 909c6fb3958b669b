"""PROCMAP_QUERY: ask the kernel for single mappings instead of reading the text of all of them.

Source: `struct procmap_query` in include/uapi/linux/fs.h, Linux 6.11 and later.
"""

import ctypes
import errno
import fcntl
import struct
from typing import Final, NamedTuple

_REQUEST: Final = 0xC0686611
"""_IOWR('f', 17, struct procmap_query)."""
_LAYOUT: Final = struct.Struct("=9Q4I2Q")
_ADDRESS: Final = slice(16, 24)
_END: Final = slice(32, 40)
_FILE: Final = slice(64, 80)
_NAME_SIZE: Final = slice(80, 84)
_NAME_ADDRESS: Final = slice(88, 96)
_BUILD_ID_SIZE: Final = slice(84, 88)

_NO_ROOM: Final = bytes(4)

_EXECUTABLE: Final = 0x04
_COVERING_OR_NEXT: Final = 0x10
_FILE_BACKED: Final = 0x20
_PATH_MAX: Final = 4096
_MAX_BUILD_ID: Final = 64


class FileKey(NamedTuple):
    """Which file a mapping shows, as the kernel names it to us.

    Attributes:
        inode: its number in the file's own file system.
        major: device number of the superblock, which need not be that of stat(2).
        minor: see `major`.
        name: the path that d_path() in the kernel makes; b"" where it is too long to be told.
    """

    inode: int
    major: int
    minor: int
    name: bytes

    @classmethod
    def unpack(cls, raw: bytes) -> "FileKey":
        """What `ProcmapQuery.executable_files` packed."""
        inode, major, minor = struct.unpack_from("=QII", raw)
        return cls(inode, major, minor, raw[16:].removesuffix(b"\0"))

    def pack(self) -> bytes:
        """The same form for what was read elsewhere."""
        return struct.pack("=QII", self.inode, self.major, self.minor) + self.name + b"\0"


class ProcmapQuery:
    """A prepared question; the open maps files that it is put to come and go."""

    def __init__(self) -> None:
        self._name = ctypes.create_string_buffer(_PATH_MAX)
        self._build_id = ctypes.create_string_buffer(_MAX_BUILD_ID)
        self._request = bytearray(_LAYOUT.size)

    def executable_files(self, descriptor: int) -> list[bytes]:
        """The packed `FileKey` of every executable mapping of a file, in ascending order.

        They stay packed, because a machine has tens of thousands and a hundred different ones.

        Args:
            descriptor: an open /proc/PID/maps.

        Raises:
            OSError: ENOTTY where the kernel does not know the question; ESRCH: no memory to ask of.
        """
        flags = _EXECUTABLE | _COVERING_OR_NEXT | _FILE_BACKED
        first = self._ask_for(flags, address=0, name_size=_PATH_MAX)
        request, name, ask = self._request, memoryview(self._name).cast("B"), fcntl.ioctl
        join, room, place = b"".join, first[_NAME_SIZE], first[_NAME_ADDRESS]
        request[:] = first
        found: list[bytes] = []
        while True:
            try:
                while True:
                    ask(descriptor, _REQUEST, request)
                    found.append(join((request[_FILE], name[: request[80] | request[81] << 8])))
                    request[_ADDRESS] = request[_END]
                    request[_NAME_SIZE], request[_NAME_ADDRESS] = room, place
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return found
                if error.errno != errno.ENAMETOOLONG or request[_NAME_SIZE] == _NO_ROOM:
                    raise
                # Only this one name is lost; a size of zero goes with an address of zero.
                request[_NAME_SIZE], request[_NAME_ADDRESS] = _NO_ROOM, bytes(8)

    def build_id(self, descriptor: int, address: int) -> str | None:
        """The build id of the file that is mapped at an address, in hexadecimal.

        The kernel reads it from the page cache: after an overwrite in place it is that of the new
        bytes, whatever the process began with.

        Raises:
            OSError: ENOTTY, ESRCH as above; ENOENT: nothing is mapped there.
        """
        self._request[:] = self._ask_for(_FILE_BACKED, address=address, build_id=_MAX_BUILD_ID)
        fcntl.ioctl(descriptor, _REQUEST, self._request)
        size = int.from_bytes(self._request[_BUILD_ID_SIZE], "little")
        return self._build_id.raw[:size].hex() or None

    def _ask_for(self, flags: int, *, address: int, name_size: int = 0, build_id: int = 0) -> bytes:
        name_at = ctypes.addressof(self._name) if name_size else 0
        build_id_at = ctypes.addressof(self._build_id) if build_id else 0
        return _LAYOUT.pack(
            _LAYOUT.size, flags, address, 0, 0, 0, 0, 0, 0, 0, 0, name_size, build_id,
            name_at, build_id_at,
        )  # fmt: skip
