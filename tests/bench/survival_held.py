"""The verdict against what happens, for libraries that were held out when the rules were made."""

from collections.abc import Collection
from typing import Final

from support.versions import BLIND, BLIND_2, FRESH, HELD
from tests.bench.survival import Classifier, builds, judged, wanted

SETS: Final = {
    "blind_2": ("Every pair that was chosen blind, the second time", BLIND_2),
    "blind": ("Every pair that was chosen blind", BLIND),
    "fresh": ("Every pair that was held out", FRESH),
    "held": ("Every pair that was held out before", HELD),
}


def run(only: Collection[str] = ()) -> tuple[Classifier, ...]:
    chosen = {
        title: reals if name in only else wanted(reals, only)
        for name, (title, reals) in SETS.items()
    }
    return tuple(Classifier(title, tuple(judged(builds(r)))) for title, r in chosen.items() if r)
