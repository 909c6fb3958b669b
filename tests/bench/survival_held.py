"""The verdict against what happens, for libraries that were held out when the rules were made."""

from support.versions import FRESH, HELD
from tests.bench.survival import Classifier, builds, judged


def run() -> tuple[Classifier, ...]:
    return (
        Classifier("Every pair that was held out", tuple(judged(builds(FRESH)))),
        Classifier("Every pair that was held out before", tuple(judged(builds(HELD)))),
    )
