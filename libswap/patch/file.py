"""The patch file (.lsp): one patch, whole or not at all.

docs/reference/patch-file.md describes it. A reader trusts nothing: the checksum only tells damage,
not malice, so that every number is checked before it is used.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Final

from libswap.errors.patch import InvalidPatch
from libswap.patch.metadata import REFERENCES, Bad, patch_of
from libswap.patch.patch import Patch

MAGIC: Final = b"\x89LSP\r\n\x1a\n"
"""As that of PNG: a copy in text mode, or through 7 bits, shows at once."""
FORMAT: Final = 1
MAX_FILE: Final = 1 << 30
_HEADER: Final = struct.Struct("<8sIIQ32s")
_MAX_METADATA: Final = 1 << 26
_WORDS: Final = {kind: word for word, kind in REFERENCES.items()}


def encode(patch: Patch) -> bytes:
    """The bytes of a patch file; the same patch always gives the same bytes."""
    metadata = json.dumps(
        _metadata(patch), ensure_ascii=True, sort_keys=True, separators=(",", ":")
    ).encode()
    blobs = b"".join(region.data for region in patch.regions)
    size = _HEADER.size + len(metadata) + len(blobs)
    head = (MAGIC, FORMAT, len(metadata), size)
    digest = hashlib.sha256(_HEADER.pack(*head, bytes(32)) + metadata + blobs).digest()
    return _HEADER.pack(*head, digest) + metadata + blobs


def identity(data: bytes) -> str:
    """What tells one patch from another: the checksum in its file, in hexadecimal."""
    return data[_HEADER.size - 32 : _HEADER.size].hex()


def decode(data: bytes, name: str) -> Patch:
    """The patch in a file.

    Args:
        data: the whole file.
        name: what to call it.

    Raises:
        InvalidPatch: it is damaged, is of a later format, or is none.
    """
    try:
        metadata, blobs = _open(data)
        return patch_of(metadata, blobs)
    except Bad as error:
        raise InvalidPatch(name, str(error)) from None


def _open(data: bytes) -> tuple[Mapping[str, object], bytes]:
    if data[: len(MAGIC)] != MAGIC:
        raise Bad("it does not begin as a patch file does")
    if len(data) < _HEADER.size:
        raise Bad("it ends inside its header")
    _magic, version, length, size, digest = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise Bad(f"it has format {version}; this libswap reads format {FORMAT}")
    if size != len(data):
        raise Bad(f"it should have {size} bytes and has {len(data)}")
    zeroed = data[: _HEADER.size - 32] + bytes(32) + data[_HEADER.size :]
    if hashlib.sha256(zeroed).digest() != digest:
        raise Bad("its checksum is wrong: it was changed or damaged")
    if length > min(_MAX_METADATA, len(data) - _HEADER.size):
        raise Bad("its metadata reaches past its end")
    end = _HEADER.size + length
    try:
        metadata = json.loads(data[_HEADER.size : end])
    except (ValueError, RecursionError):
        raise Bad("its metadata is no JSON") from None
    if not isinstance(metadata, dict):
        raise Bad("its metadata is no object")
    return metadata, data[end:]


def _metadata(patch: Patch) -> dict[str, object]:
    found = {f.name: _plain(getattr(patch, f.name)) for f in fields(patch)}
    found["regions"] = [
        {
            "protection": r.protection.value,
            "offset": r.offset,
            "size": r.size,
            "data": len(r.data),
        }
        for r in patch.regions
    ]
    found["references"] = [{"kind": _WORDS[type(r)], **asdict(r)} for r in patch.references]
    found["fixups"] = [[f.place, f.field.value, f.reference, f.addend] for f in patch.fixups]
    return found


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value
