from libswap.linux.mounts import Mount, Place, mounts_of, namespaces, parse, place_of, points_at

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


def test_our_own_namespace_is_among_the_namespaces() -> None:
    assert any(any(m.point == "/" for m in mounts) for mounts in namespaces().values())
