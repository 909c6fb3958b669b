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
_FILE: Final = struct.Struct("=QII24x")
"""Its end: inode, device, and what was asked for; the name comes right behind."""
_FILE_AT: Final = _LAYOUT.size - _FILE.size
_ADDRESS, _END, _NAME_ADDRESS = 2, 4, 11
"""Where they are, in words of 8 bytes."""
_NAME_SIZE, _BUILD_ID_SIZE = 20, 21
"""Likewise, in words of 4 bytes."""

_EXECUTABLE: Final = 0x04
_COVERING_OR_NEXT: Final = 0x10
_FILE_BACKED: Final = 0x20
_PATH_MAX: Final = 4096


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
        inode, major, minor = _FILE.unpack_from(raw)
        return cls(inode, major, minor, raw[_FILE.size :].removesuffix(b"\0"))

    def pack(self) -> bytes:
        """The same form for what was read elsewhere."""
        return _FILE.pack(self.inode, self.major, self.minor) + self.name + b"\0"


class ProcmapQuery:
    """A prepared question; the open maps files that it is put to come and go.

    The kernel writes the name right behind the question, so that one slice has all of an answer.
    """

    def __init__(self) -> None:
        self._request = bytearray(_LAYOUT.size + _PATH_MAX)
        self._text = memoryview(self._request)
        fixed = self._text[: _LAYOUT.size]
        self._words, self._halves = fixed.cast("Q"), fixed.cast("I")
        whole = ctypes.c_char * len(self._request)
        self._text_address = ctypes.addressof(whole.from_buffer(self._request)) + _LAYOUT.size

    def executable_files(self, descriptor: int) -> list[bytes]:
        """The packed `FileKey` of every executable mapping of a file, in ascending order.

        They stay packed, because a machine has tens of thousands and a hundred different ones.

        Args:
            descriptor: an open /proc/PID/maps.

        Raises:
            OSError: ENOTTY where the kernel does not know the question; ESRCH: no memory to ask of.
        """
        self._prepare(_EXECUTABLE | _COVERING_OR_NEXT | _FILE_BACKED, name_size=_PATH_MAX)
        request, text, words, halves = self._request, self._text, self._words, self._halves
        found: list[bytes] = []
        ask, add = fcntl.ioctl, found.append
        name_at, name_address = _LAYOUT.size, self._text_address
        while True:
            try:
                while True:
                    ask(descriptor, _REQUEST, request)
                    add(bytes(text[_FILE_AT : name_at + halves[_NAME_SIZE]]))
                    words[_ADDRESS] = words[_END]
                    halves[_NAME_SIZE], words[_NAME_ADDRESS] = _PATH_MAX, name_address
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return found
                if error.errno != errno.ENAMETOOLONG or not halves[_NAME_SIZE]:
                    raise
                # Only this one name is lost; a size of zero goes with an address of zero.
                halves[_NAME_SIZE] = words[_NAME_ADDRESS] = 0

    def build_id(self, descriptor: int, address: int) -> str | None:
        """The build id of the file that is mapped at an address, in hexadecimal.

        The kernel reads it from the page cache: after an overwrite in place it is that of the new
        bytes, whatever the process began with.

        Raises:
            OSError: ENOTTY, ESRCH as above; ENOENT: nothing is mapped there.
        """
        self._prepare(_FILE_BACKED, address=address, build_id_size=_PATH_MAX)
        fcntl.ioctl(descriptor, _REQUEST, self._request)
        size = self._halves[_BUILD_ID_SIZE]
        return self._text[_LAYOUT.size : _LAYOUT.size + size].hex() or None

    def _prepare(
        self, flags: int, *, address: int = 0, name_size: int = 0, build_id_size: int = 0
    ) -> None:
        text = self._text_address
        _LAYOUT.pack_into(
            self._request, 0,
            _LAYOUT.size, flags, address, 0, 0, 0, 0, 0, 0, 0, 0, name_size, build_id_size,
            text if name_size else 0, text if build_id_size else 0,
        )  # fmt: skip
