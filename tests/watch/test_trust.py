"""Signatures and signed manifests, right and wrong."""

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libswap.operations.deployments import Outcome
from libswap.watch.rule import Require, Trust
from support.compiler import has
from support.dropping import Drop

pytestmark = pytest.mark.compiler


class Minisign:
    """A key pair, and signatures of minisign's form made with it."""

    def __init__(self) -> None:
        self.key, self.id = Ed25519PrivateKey.generate(), os.urandom(8)

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(b"Ed" + self.id + raw).decode()

    def sign(self, data: bytes, *, hashed: bool = True, comment: bytes = b"a comment") -> bytes:
        kind = b"ED" if hashed else b"Ed"
        signature = self.key.sign(hashlib.blake2b(data).digest() if hashed else data)
        lines = [
            b"untrusted comment: of a test",
            base64.b64encode(kind + self.id + signature),
            b"trusted comment: " + comment,
            base64.b64encode(self.key.sign(signature + comment)),
        ]
        return b"\n".join(lines) + b"\n"


@pytest.fixture
def key(drop: Drop) -> Minisign:
    key = Minisign()
    drop.change(trust=Trust(Require.SIGNATURE, (key.public,)))
    return key


@pytest.mark.parametrize("hashed", [True, False])
def test_a_file_that_is_signed_is_deployed_with_its_signature(
    drop: Drop, key: Minisign, *, hashed: bool
) -> None:
    drop.put("libx.so.1.2.minisig", key.sign(drop.bytes_of(2), hashed=hashed))
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.DEPLOYED
    assert drop.aside("deployed") == ["libx.so.1.2", "libx.so.1.2.minisig"]


@pytest.mark.root
def test_a_signature_speaks_for_a_file_whoever_wrote_it(drop: Drop, key: Minisign) -> None:
    os.chown(drop.put("libx.so.1.2.minisig", key.sign(drop.bytes_of(2))), 12345, 12345)
    os.chown(drop.put("libx.so.1.2"), 12345, 12345)
    assert drop.one().outcome is Outcome.DEPLOYED


def test_other_bytes_another_key_and_a_changed_comment_are_refused(
    drop: Drop, key: Minisign
) -> None:
    right = key.sign(drop.bytes_of(2))
    wrong = {
        "the bytes are not those that were signed": key.sign(drop.bytes_of(3)),
        "which is none of ours": Minisign().sign(drop.bytes_of(2)),
        "are not those": right.replace(b"a comment", b"another"),
        "not of minisign's form": b"nonsense\n",
        "does not make": right.replace(base64.b64encode(b"ED\0")[:2], b"AA", 1),
    }
    for reason, signature in wrong.items():
        drop.put("libx.so.1.2.minisig", signature)
        drop.put("libx.so.1.2")
        assert reason in drop.one().reason
    assert (drop.runs(), drop.operations(), drop.lying()) == (1, [], [])


def test_a_file_without_a_signature_waits_and_is_refused_in_the_end(
    drop: Drop, key: Minisign
) -> None:
    drop.change(gather=60.0)
    drop.put("libx.so.1.2")
    assert drop.once().waiting == ("libx.so.1.2",)
    drop.change(gather=0.0)
    assert "it has no signature" in drop.one().reason
    drop.put("libx.so.1.3.minisig", key.sign(drop.bytes_of(3)))
    assert "there is no libx.so.1.3 that it could sign" in drop.one().reason


def test_only_what_a_signed_manifest_lists_is_deployed(drop: Drop, key: Minisign) -> None:
    drop.change(trust=Trust(Require.MANIFEST, (key.public,)))
    drop.put("libx.so.1.2")
    assert "no manifest lists it" in drop.one().reason
    listing = f"{hashlib.sha256(drop.bytes_of(2)).hexdigest()}  libx.so.1.2\n".encode()
    drop.put("all.manifest", listing)
    drop.put("libx.so.1.2")
    assert "a signature of all.manifest" in drop.one().reason
    drop.put("all.manifest", listing)
    drop.put("all.manifest.minisig", key.sign(listing + b"\n"))
    drop.put("libx.so.1.2")
    assert "not those that were signed" in drop.one().reason
    assert drop.lying() == []
    drop.put("all.manifest", listing)
    drop.put("all.manifest.minisig", key.sign(listing))
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.DEPLOYED


@pytest.mark.skipif(not has("ssh-keygen"), reason="no ssh-keygen")
def test_signatures_of_ssh_keygen_are_verified(drop: Drop, tmp_path: Path) -> None:
    def sign(name: str, *, key: str = "key", namespace: str = "libswap") -> None:
        words = ["ssh-keygen", "-Y", "sign", "-f", str(tmp_path / key), "-n", namespace]
        data = tmp_path / "data"
        data.write_bytes(drop.bytes_of(2))
        subprocess.run([*words, str(data)], check=True, capture_output=True)
        drop.put(f"{name}.sig", (tmp_path / "data.sig").read_bytes())
        (tmp_path / "data.sig").unlink()

    for key in ("key", "other"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)]
        subprocess.run(words, check=True)
    public = (tmp_path / "key.pub").read_text().strip()
    drop.change(trust=Trust(Require.SIGNATURE, ssh_keys=(public,)))
    for wrong, why in (({"key": "other"}, "none of ours"), ({"namespace": "file"}, "namespace")):
        sign("libx.so.1.2", **wrong)
        drop.put("libx.so.1.2")
        assert why in drop.one().reason
    sign("libx.so.1.2")
    drop.put("libx.so.1.2", 3)
    assert "its signature is not accepted" in drop.one().reason
    sign("libx.so.1.2")
    drop.put("libx.so.1.2")
    assert drop.one().outcome is Outcome.DEPLOYED
    assert drop.runs() == 2
