import subprocess
from pathlib import Path

import pytest

from libswap.linux.mounts import Mount, Place, mounts_of, others, own, parse, place_of, points_at

HOST = parse(
    b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    b"30 22 8:2 /@usr /usr rw - btrfs /dev/sda2 rw,subvol=/@usr\n"
    b"31 22 0:30 / /with\\040blank\\012line rw - tmpfs tmpfs rw\n"
    b"nonsense\n"
)


def test_names_are_unescaped_and_nonsense_is_left_out() -> None:
    assert [m.point for m in HOST] == ["/", "/usr", "/with blank\nline"]
    assert HOST[1] == Mount(30, 22, "8:2", "/@usr", "/usr")


def test_a_place_is_counted_from_the_deepest_mount() -> None:
    assert place_of("/usr/lib/libz.so", HOST) == Place("8:2", "/@usr/lib/libz.so")
    assert place_of("/usrlocal/libz.so", HOST) == Place("8:1", "/usrlocal/libz.so")
    assert place_of("/libz.so", ()) is None


def test_a_later_mount_covers_an_earlier_one() -> None:
    covered = (*HOST, Mount(40, 30, "0:50", "/", "/usr"))
    assert place_of("/usr/lib/libz.so", covered) == Place("0:50", "/lib/libz.so")


def test_a_single_file_bind_mount_of_a_container_is_found_from_both_sides() -> None:
    container = parse(
        b"50 1 0:60 / / rw - overlay overlay rw\n"
        b"51 50 8:2 /@usr/lib /host/lib rw - btrfs /dev/sda2 rw\n"
        b"52 50 8:2 /@usr/lib/libz.so /app/libz.so rw - btrfs /dev/sda2 rw\n"
        b"53 51 0:70 /libz.so /host/lib/libz.so rw - tmpfs tmpfs rw\n"
    )
    place = place_of("/usr/lib/libz.so", HOST)
    assert place is not None
    assert [m.id for m in mounts_of(place, container)] == [52]
    assert [m.id for m in points_at(place, container)] == [53]


def test_our_own_namespace_is_not_among_the_others() -> None:
    assert any(m.point == "/" for m in own())


@pytest.mark.namespaces
def test_a_mount_in_the_namespace_of_another_process_is_found(tmp_path: Path) -> None:
    script = f"mount -t tmpfs none {tmp_path} && echo ready && read _"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        points = {pid: {m.point for m in mounts} for pid, mounts in others().items()}
        child.communicate(b"\n")
    assert str(tmp_path) in points[child.pid]
    assert str(tmp_path) not in {m.point for m in own()}
