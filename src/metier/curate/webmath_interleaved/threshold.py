"""A threshold that keeps a wanted share of good pages, with a promise that holds for pages not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats


def threshold_for_recall(scores: Sequence[float], recall: float, confidence: float = 0.95) -> float:
    """The largest score to keep from, so that with `confidence` at least `recall` of all good pages have it or more.

    scores: of good pages that the classifier was not trained on. Whatever their distribution, the share of pages at or above the k-th
    smallest of n scores is Beta(n - k + 1, k) or larger; the largest k that keeps the promise is taken. Raises ValueError for too few
    scores to promise anything (59 are needed for 0.95 and 0.95), and for shares that are none.
    """
    for name, share in (("recall", recall), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ValueError(f"{name}={share} is no share that can be promised: give a number between 0 and 1, such as 0.95")
    size = len(scores)
    place = 0
    while place < size and stats.beta.sf(recall, size - place, place + 1) >= confidence:
        place += 1
    if place == 0:
        fewest = math.ceil(math.log(1 - confidence) / math.log(recall))
        raise ValueError(f"{size} scores promise nothing of recall={recall} at confidence={confidence}: give {fewest} or more")
    return sorted(scores)[place - 1]
