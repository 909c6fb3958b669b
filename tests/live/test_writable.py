"""Pieces of memory without others."""

import random
from itertools import pairwise

from libswap.linux.memory import Range
from libswap.live.writable import without


def test_what_is_left_is_what_no_hole_covers() -> None:
    chance = random.Random(7)
    for _ in range(300):
        edges = sorted(chance.sample(range(60), 6))
        ranges = [Range(*edges[i : i + 2]) for i in (0, 2, 4)]
        holes = [Range(at, at + chance.randrange(9)) for at in chance.choices(range(60), k=6)]
        left = without(chance.sample(ranges, 3), holes)
        found = {at for piece in left for at in range(*piece)}
        covered = {at for hole in holes for at in range(*hole)}
        assert found == {at for r in ranges for at in range(*r)} - covered
        assert all(a.end < b.start for a, b in pairwise(left))
        assert sum(piece.size for piece in left) == len(found)
