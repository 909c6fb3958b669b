import json
import struct
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libswap.errors.patch import InvalidPatch
from libswap.patch.file import decode, encode, identity
from libswap.patch.findings import Finding, Severity
from libswap.patch.patch import (
    Field,
    Fixup,
    Hooks,
    Import,
    Indirect,
    Kind,
    Memory,
    Module,
    Original,
    Patch,
    Pin,
    Protection,
    Region,
    Replaced,
    TlsBlock,
    TlsModule,
    Unwind,
    Use,
)

PATCH = Patch(
    description="handle empty names",
    sources=("fix.o",),
    pin=Pin("server", Kind.PIE, "00ff", ""),
    size=0x3000,
    regions=(
        Region(Protection.CODE, 0, 0x1000, b"\x90" * 0x1000),
        Region(Protection.CONSTANTS, 0x1000, 0x1000, b"got"),
        Region(Protection.DATA, 0x2000, 0x1000, b""),
    ),
    references=(
        Memory(), Module(), Import("puts", "GLIBC_2.2.5", "libc.so.6", weak=False), Indirect(16),
        TlsModule(), TlsBlock(),
    ),
    fixups=(Fixup(0x10, Field.PC32, 1, -4), Fixup(0x1000, Field.WORD64, 2, 0)),
    replaced=(Replaced("handle", "server.c", 0x1180, 90, 96, b"\x55\x48\x89\xe5\x90", ((8, 9),),
                       "handle", 0, (0, 64)),),
    originals=(Original(0x80, 0),),
    hooks=Hooks((4,), 8, None, 12),
    unwind=Unwind(0x1010, 0x40),
    uses=(Use("log", "", 0x2000, "function"),),
    findings=(Finding(Severity.NOTE, "shared-code", "handle", "why", "what"),),
    near=False,
)  # fmt: skip
HEADER = struct.Struct("<8sIIQ32s")


def resealed(metadata: object, blobs: bytes) -> bytes:
    """A file with a right checksum, as somebody who means harm would make it."""
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    head = (b"\x89LSP\r\n\x1a\n", 1, len(text), HEADER.size + len(text) + len(blobs))
    digest = sha256(HEADER.pack(*head, bytes(32)) + text + blobs).digest()
    return HEADER.pack(*head, digest) + text + blobs


def metadata_of(data: bytes) -> dict[str, object]:
    length = HEADER.unpack_from(data)[2]
    found = json.loads(data[HEADER.size : HEADER.size + length])
    assert isinstance(found, dict)
    return found


def test_a_patch_comes_back_as_it_was_written() -> None:
    data = encode(PATCH)
    assert decode(data, "x.lsp") == PATCH
    assert encode(decode(data, "x.lsp")) == data
    assert len(identity(data)) == 64


def test_every_changed_byte_and_every_truncation_is_noticed() -> None:
    data = encode(PATCH)
    for at in range(0, len(data), 7):
        with pytest.raises(InvalidPatch):
            decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "x.lsp")
        with pytest.raises(InvalidPatch):
            decode(data[:at], "x.lsp")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fixups": [[0x2FFE, "word64", 0, 0]]}, "fixup place"),
        ({"fixups": [[0, "pc32", 6, 0]]}, "fixup reference"),
        ({"fixups": [[0, "pc32", 0, 0], [2, "pc32", 0, 0]]}, "fixup place"),
        ({"fixups": [[0, "pc32", 0, 1 << 70]]}, "fixup addend"),
        ({"size": 1 << 40}, "size"),
        ({"regions": []}, "all of it"),
        ({"replaced": []}, "replaces nothing"),
        ({"references": [{"kind": "kernel"}]}, "unknown"),
        ({"unwind": {"offset": 0x2FFF, "size": 0x20}}, "unwind"),
        ({"originals": [{"offset": 0xFF0, "replaced": 0}]}, "offset"),
        ({"hooks": {"constructors": [0x1000], "pre_apply": None, "post_apply": None,
                    "pre_revert": None}}, "constructor"),
        ({"pin": {"name": "x", "kind": "library", "build_id": "", "sha256": ""}}, "what it is for"),
        ({"description": 3}, "description"),
        ({"near": 1}, "near"),
    ],
)  # fmt: skip
def test_a_forged_field_is_refused_by_its_name(change: dict[str, object], words: str) -> None:
    data = encode(PATCH)
    blobs = b"".join(r.data for r in PATCH.regions)
    with pytest.raises(InvalidPatch, match=words):
        decode(resealed({**metadata_of(data), **change}, blobs), "x.lsp")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"first": "55"}, "too few"),
        ({"first": "55" * 17}, "too many"),
        ({"parts": [[1 << 46, 1 << 46]]}, "too large"),
        ({"size": 1 << 31}, "size"),
        ({"code": [0xFF0, 0x20]}, "reaches out"),
        ({"entry": 0x1000}, "entry"),
    ],
)
def test_a_forged_function_is_refused(change: dict[str, object], words: str) -> None:
    data = encode(PATCH)
    metadata = metadata_of(data)
    (replaced,) = metadata["replaced"]  # type: ignore[misc]
    blobs = data[len(data) - 0x1003 :]
    with pytest.raises(InvalidPatch, match=words):
        decode(resealed({**metadata, "replaced": [{**replaced, **change}]}, blobs), "x.lsp")
    with pytest.raises(InvalidPatch, match="overlap"):
        decode(resealed({**metadata, "replaced": [replaced, replaced]}, blobs), "x.lsp")


def test_a_writable_and_executable_region_cannot_be_asked_for() -> None:
    metadata = metadata_of(encode(PATCH))
    metadata["regions"][2]["protection"] = "rwx"  # type: ignore[index]
    with pytest.raises(InvalidPatch, match="protection"):
        decode(resealed(metadata, b"".join(r.data for r in PATCH.regions)), "x.lsp")


def test_a_later_format_is_named() -> None:
    data = encode(PATCH)
    with pytest.raises(InvalidPatch, match="format 2"):
        decode(data[:8] + b"\x02" + data[9:], "x.lsp")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(field=st.sampled_from(sorted(metadata_of(encode(PATCH)))), value=JSON)
def test_whatever_stands_in_a_field_the_answer_is_a_patch_or_a_refusal(
    field: str, value: object
) -> None:
    blobs = b"".join(r.data for r in PATCH.regions)
    data = resealed({**metadata_of(encode(PATCH)), field: value}, blobs)
    try:
        found = decode(data, "x.lsp")
    except InvalidPatch:
        return
    assert encode(replace(found, description="")) is not None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_are_taken_for_a_patch_by_chance(data: bytes) -> None:
    for candidate in (data, resealed(data, b"")):
        with pytest.raises(InvalidPatch):
            decode(candidate, "x.lsp")
