"""How often a deduplicated document is worth repeating: by the size of the cluster it stands for, where filters removed less of
that size.

A page that many sites copied is often better than one that stands alone, up to the sizes at which boilerplate begins. FineWeb2
reads it off the filters: the smaller the share of clusters of a size that the filters removed, the more often what is left of it
is repeated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

RepeatTable: TypeAlias = dict[int, int]  # cluster size -> repeats of clusters from this size on, up to the next one listed

WINDOW = 5
TAIL_SHARE = 0.001
_STRENGTHS = np.geomspace(1, 1e6, 61)  # prior documents behind the overall rate, tried on a grid
_CERTAINTY = 0.975


def repeat_table(
    sizes: Sequence[int], rates: Sequence[float], overall: float, *, most: int = 10, window: int = WINDOW
) -> RepeatTable:
    """The table of repeats, with an entry only where the number changes.

    With r the rate of a size, g the overall rate and m the lowest: 1 + (most - 1)(g - r) / (g - m) where r < g, and 1 elsewhere;
    smoothed by a box of `window` consecutive sizes (the first and last window // 2 stay as they are), rounded half to even. All 1
    where no size is below g. Fewer sizes than the window shrink it to the largest odd number that fits. sizes: rising, the last
    one standing for itself and all above; rates: shares removed, in the unit of `overall`. Raises ValueError for a cap below 1,
    lists of unequal length or no length, sizes that do not rise, and an even window.
    """
    if most < 1:
        raise ValueError(f"most={most} would drop documents that the filters kept: give 1 (no repeats) or more")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window={window} has no middle: give an odd number, such as {WINDOW}")
    if len(sizes) != len(rates) or not sizes:
        raise ValueError(f"{len(sizes)} sizes and {len(rates)} rates: give one rate for each size, and at least one")
    if any(low >= high for low, high in pairwise(sizes)):
        raise ValueError("cluster sizes must rise: sort them, and give each once")
    rate = np.asarray(rates, np.float64)
    lowest = rate.min()
    if lowest >= overall:
        return {sizes[0]: 1}
    wanted = np.where(rate >= overall, 1.0, 1 + (most - 1) * (overall - rate) / (overall - lowest))
    repeats = np.rint(_smoothed(wanted, window)).astype(int).tolist()
    changes = [place for place in range(len(repeats)) if place == 0 or repeats[place] != repeats[place - 1]]
    return {sizes[place]: repeats[place] for place in changes}


def repeats_of(size: int, table: Mapping[int, int]) -> int:
    """Repeats of a document from a cluster of this size: those of the largest listed size up to it, of the smallest where there
    is none."""
    listed = sorted(table)
    return table[listed[max(0, bisect_right(listed, size) - 1)]]


def table_from_counts(removed: Mapping[int, int], kept: Mapping[int, int], *, most: int = 10) -> RepeatTable:
    """The table of a corpus, from how many clusters of each size the filters removed and kept.

    Sizes are listed until they hold 99.9% of all clusters; the larger ones are one tail (the published tables keep to this rule,
    which the paper does not state). Unlike the paper, which takes rates of two or three documents at face value, a size whose
    rate is not surely below the overall one counts as no better: see `evident_rates`. Large counts give the paper's table. {1: 1}
    of no clusters.
    """
    sizes = sorted({*removed, *kept})
    totals = np.array([removed.get(size, 0) + kept.get(size, 0) for size in sizes], np.int64)
    if totals.sum() == 0:
        return {1: 1}
    gone = np.array([removed.get(size, 0) for size in sizes], np.int64)
    listed = int(np.searchsorted(np.cumsum(totals), (1 - TAIL_SHARE) * totals.sum(), side="left"))
    listed = min(listed, len(sizes) - 1)
    totals = np.append(totals[:listed], totals[listed:].sum())
    gone = np.append(gone[:listed], gone[listed:].sum())
    rates = evident_rates(gone, totals)
    return repeat_table(sizes[: listed + 1], rates.tolist(), float(gone.sum() / totals.sum()), most=most)


def evident_rates(removed: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Removal rates by size (0 to 1), drawn to the overall rate as far as their counts leave it open; float64, shaped like the
    counts.

    The rates of sizes are taken to scatter around the overall rate g like a beta distribution, of the width that makes the counts
    likeliest (beta-binomial). A rate is the mean of what is then believed of it, and g itself unless 97.5% of that lies below g.
    """
    from scipy import stats

    removed, total = np.asarray(removed, np.float64), np.asarray(total, np.float64)
    overall = float(removed.sum() / total.sum())
    if overall in (0.0, 1.0):
        return np.full(len(total), overall)
    likelihoods = [
        stats.betabinom.logpmf(removed, total, strength * overall, strength * (1 - overall)).sum() for strength in _STRENGTHS
    ]
    strength = float(_STRENGTHS[int(np.argmax(likelihoods))])
    hits, misses = strength * overall + removed, strength * (1 - overall) + total - removed
    surely_lower = stats.beta.cdf(overall, hits, misses) >= _CERTAINTY
    return np.where(surely_lower, hits / (hits + misses), overall)


def _smoothed(values: np.ndarray, window: int) -> np.ndarray:
    width = min(window, len(values) - 1 + len(values) % 2)
    result, half = values.copy(), width // 2
    if half:
        result[half:-half] = np.convolve(values, np.ones(width) / width, "valid")
    return result
