from libswap.install.store import Entry, superfluous

KEPT = tuple(Entry(f"e{number}", 10, number) for number in range(5))
ALL = {entry.name for entry in KEPT}


def names(referenced: set[str], latest: set[str], files: int, size: int) -> list[str]:
    gone = superfluous(KEPT, referenced, latest, max_files=files, max_bytes=size)
    return [entry.name for entry in gone]


def test_within_the_limits_only_orphans_go() -> None:
    assert names(ALL, set(), 5, 50) == []
    assert names(ALL - {"e3"}, set(), 5, 50) == ["e3"]


def test_the_oldest_go_first_until_both_limits_hold() -> None:
    assert names(ALL, set(), 3, 50) == ["e0", "e1"]
    assert names(ALL, set(), 5, 25) == ["e0", "e1", "e2"]


def test_what_the_next_rollback_needs_stays_over_any_limit() -> None:
    assert names(ALL, {"e0", "e4"}, 0, 0) == ["e1", "e2", "e3"]
