import os
import struct
import subprocess
from pathlib import Path

import pytest

from libswap.linux.attributes import Attributes, InodeFlags, inode_flags
from support.compiler import has


def carry(old: Path, new: Path) -> tuple[str, ...]:
    new.write_text("new bytes")
    with old.open("rb") as source, new.open("rb+") as target:
        return Attributes.of(source.fileno(), str(old)).give_to(target.fileno(), str(new))


def read(path: Path) -> Attributes:
    with path.open("rb") as file:
        return Attributes.of(file.fileno(), str(path))


def test_mode_and_user_attributes_are_carried(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    old.chmod(0o640)
    os.setxattr(old, "user.origin", b"build 7")
    assert carry(old, tmp_path / "new") == ()
    assert read(tmp_path / "new").mode == 0o640
    assert dict(read(tmp_path / "new").xattrs)["user.origin"] == b"build 7"


@pytest.mark.root
def test_owner_set_id_bits_and_capabilities_survive_the_change_of_owner(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    os.chown(old, 1234, 4321)
    old.chmod(0o6755)
    capability = struct.pack(
        "<5I", 0x02000001, 1 << 13, 0, 0, 0
    )  # cap_net_raw=ep, linux/capability.h
    os.setxattr(old, "security.capability", capability)
    assert carry(old, tmp_path / "new") == ()
    found = read(tmp_path / "new")
    assert (found.uid, found.gid, found.mode) == (1234, 4321, 0o6755)
    assert dict(found.xattrs)["security.capability"] == capability


@pytest.mark.skipif(not has("setfacl"), reason="no setfacl (Debian: acl)")
def test_an_access_control_list_is_carried(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    old.chmod(0o600)
    subprocess.run(["setfacl", "-m", "u:1234:r,m::r", str(old)], check=True)
    assert carry(old, tmp_path / "new") == ()
    assert read(tmp_path / "new").mode == read(old).mode
    assert read(tmp_path / "new").xattrs == read(old).xattrs


@pytest.mark.root
def test_a_hash_of_the_old_bytes_is_not_carried(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    try:
        os.setxattr(old, "security.ima", b"\x04\x04" + bytes(32))
    except OSError as error:
        pytest.skip(f"security.ima cannot be set here: {error}")
    assert carry(old, tmp_path / "new") == ()
    assert "security.ima" not in dict(read(tmp_path / "new").xattrs)


@pytest.mark.root
@pytest.mark.skipif(not has("chattr"), reason="no chattr (Debian: e2fsprogs)")
def test_the_immutable_flag_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    done = subprocess.run(["chattr", "+i", str(path)], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this file system keeps no flags")
    try:
        with path.open("rb") as file:
            assert inode_flags(file.fileno()) == InodeFlags.IMMUTABLE
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=True)
