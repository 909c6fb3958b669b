"""The memory of a process that there is not."""

from libswap.errors.process import MemoryUnreachable


class FakeMemory:
    """Bytes at addresses."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self.pieces = {at: bytearray(data) for at, data in pieces.items()}

    def read(self, address: int, size: int) -> bytes:
        """See `Memory.read`."""
        at, data = self._piece(address, size)
        return bytes(data[address - at : address - at + size])

    def write(self, address: int, data: bytes) -> None:
        """As `ProcessMemory.write`."""
        at, piece = self._piece(address, len(data))
        piece[address - at : address - at + len(data)] = data

    def _piece(self, address: int, size: int) -> tuple[int, bytearray]:
        for at, data in self.pieces.items():
            if at <= address and address + size <= at + len(data):
                return at, data
        raise MemoryUnreachable(0, address, size)
