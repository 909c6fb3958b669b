"""Signatures over the bytes of an open file: minisign's Ed25519, and those of ssh-keygen(1) -Y.

minisign's format: https://jedisct1.github.io/minisign/. A key is "Ed", 8 bytes of key id and 32 of
Ed25519, in base64; a signature is "Ed" (of the bytes) or "ED" (of their BLAKE2b-512), the key id
and 64 bytes. A trusted comment is covered by a second signature.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libswap.errors.base import MissingTool
from libswap.errors.watch import DropRefused
from libswap.linux import command
from libswap.watch.rule import Trust

MINISIGN: Final = ".minisig"
SSH: Final = ".sig"
SUFFIXES: Final = (MINISIGN, SSH)
MOST: Final = 1 << 16
"""Bytes of a signature file."""

_KEY_BYTES: Final = 42
_SIGNATURE_BYTES: Final = 74
_CHUNK: Final = 1 << 20
_MOST_UNHASHED: Final = 1 << 28
_SSH_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class MinisignKey:
    """A public key."""

    id: bytes
    key: bytes


def parse_minisign_key(text: str) -> MinisignKey:
    """A key as minisign writes it: one line of base64.

    Raises:
        ValueError: it is none.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != _KEY_BYTES or raw[:2] != b"Ed":
        raise ValueError("a key of minisign is one line of base64 that begins with RW")
    return MinisignKey(raw[2:10], raw[10:])


def verify(
    name: str, kind: str, signature: bytes, descriptor: int, *, trust: Trust, work: str
) -> None:
    """Make sure that a signature of a file is right and made with one of the keys.

    Args:
        name: of the file, for messages.
        kind: which of `SUFFIXES` the signature's name has.
        signature: its bytes.
        descriptor: of the file that nobody else can change.
        trust: the keys.
        work: a private directory for what ssh-keygen reads.

    Raises:
        DropRefused: it is not.
    """
    if kind == MINISIGN:
        _verify_minisign(name, signature, descriptor, trust.minisign_keys)
    else:
        _verify_ssh(name, signature, descriptor, trust, work)


def _verify_minisign(name: str, signature: bytes, descriptor: int, keys: Sequence[str]) -> None:
    lines = signature.split(b"\n")
    if len(lines) < 4 or not lines[2].startswith(b"trusted comment: "):
        raise DropRefused(name, "its signature is not of minisign's form")
    try:
        raw = base64.b64decode(lines[1].strip(b"\r"), validate=True)
        whole = base64.b64decode(lines[3].strip(b"\r"), validate=True)
    except binascii.Error:
        raise DropRefused(name, "its signature is not of minisign's form") from None
    if len(raw) != _SIGNATURE_BYTES or raw[:2] not in (b"Ed", b"ED"):
        raise DropRefused(name, "its signature is of a kind that minisign does not make")
    known = {key.id: key.key for key in map(parse_minisign_key, keys)}
    if raw[2:10] not in known:
        raise DropRefused(
            name, f"it is signed with key {raw[9:1:-1].hex().upper()}, which is none of ours"
        )
    message = _hashed(descriptor) if raw[:2] == b"ED" else _whole(name, descriptor)
    comment = lines[2].strip(b"\r").removeprefix(b"trusted comment: ")
    right = _ed25519(known[raw[2:10]], raw[10:], message) and _ed25519(
        known[raw[2:10]], whole, raw[10:] + comment
    )
    if not right:
        raise DropRefused(name, "its signature is wrong: the bytes are not those that were signed")


def _ed25519(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  an extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
    except ImportError:
        raise MissingTool(
            "the Python package cryptography", "verify signatures of minisign",
            "pip install 'libswap[watch]'",
        ) from None  # fmt: skip
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _hashed(descriptor: int) -> bytes:
    digest, offset = hashlib.blake2b(), 0
    while data := os.pread(descriptor, _CHUNK, offset):
        digest.update(data)
        offset += len(data)
    return digest.digest()


def _whole(name: str, descriptor: int) -> bytes:
    """All bytes, for signatures of the old kind, which are made without a hash."""
    size = os.fstat(descriptor).st_size
    if size > _MOST_UNHASHED:
        raise DropRefused(name, "it is too big for a signature without a hash; minisign -H")
    data = bytearray()
    while piece := os.pread(descriptor, size - len(data), len(data)):
        data += piece
    return bytes(data)


def _verify_ssh(name: str, signature: bytes, descriptor: int, trust: Trust, work: str) -> None:
    signers, mark = f"{work}/.signers", f"{work}/.signature"
    lines = (f'libswap namespaces="{trust.ssh_namespace}" {key}\n' for key in trust.ssh_keys)
    for path, data in ((signers, "".join(lines).encode()), (mark, signature)):
        _write(path, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        done = command.run(
            ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "libswap",
             "-n", trust.ssh_namespace, "-s", mark],
            timeout=_SSH_SECONDS, stdin=descriptor,
        )  # fmt: skip
    finally:
        for path in (signers, mark):
            os.unlink(path)  # noqa: PTH108
    if done.status != 0:
        # Of a key that it does not know, ssh-keygen says nothing on its standard error.
        said = done.complaint if done.stderr.strip() else "it is of a key that is none of ours"
        raise DropRefused(name, f"its signature is not accepted: {said}")


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
