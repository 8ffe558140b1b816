"""Bootstrap intervals for ratios of sums: accuracies (correct by answers), bits per byte (bits by bytes).

Items are drawn with replacement, all numbers of an item together. Items with equal numbers are interchangeable, so a replicate is a
multinomial count for each distinct one, and its sums a matrix product: right and wrong answers of two models are four distinct
items, however many were asked, and the order of the items changes nothing. Percentile intervals (Efron and Tibshirani 1993, chapter 13).

What an interval cannot say: one item, or items all alike, give an interval of no width. It is no certainty, so whoever decides by
intervals has to ask for a least number of items first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# N items, D distinct ones, K numbers an item, R replicates

CHUNK_BYTES = 64 * 2**20  # of one chunk's counts

Numbers = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference (second minus first) with its interval and two-sided p-value of no difference, at least 2 / (replicates + 1)."""

    value: float
    low: float
    high: float
    p: float


def ratio(numerators: Numbers, denominators: Numbers, *, seed: int, replicates: int = 10_000, level: float = 0.95) -> Interval:
    """sum(numerators) / sum(denominators) over n items with its interval. Raises ValueError as `paired_difference` does."""
    total_K, sums_RK = resample(_columns(numerators, denominators), seed, replicates)
    low, high = percentiles(sums_RK[:, 0] / sums_RK[:, 1], level)
    return Interval(float(total_K[0] / total_K[1]), low, high)


def paired_difference(
    first: tuple[Numbers, Numbers],
    second: tuple[Numbers, Numbers],
    *,
    seed: int,
    replicates: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Ratio of `second` minus ratio of `first`, each (numerators, denominators) of the same n items in the same order.

    Raises ValueError for no items, for numbers that do not pair or are not finite, and for denominators that are not positive.
    """
    a_NK, b_NK = _columns(*first), _columns(*second)
    if len(a_NK) != len(b_NK):
        raise ValueError(f"{len(a_NK)} and {len(b_NK)} items do not pair: both models must have answered the same")
    total_K, sums_RK = resample(np.concatenate([a_NK, b_NK], axis=1), seed, replicates)
    differences_R = sums_RK[:, 2] / sums_RK[:, 3] - sums_RK[:, 0] / sums_RK[:, 1]
    low, high = percentiles(differences_R, level)
    below, above = int((differences_R <= 0).sum()), int((differences_R >= 0).sum())
    p = min(1.0, 2 * (min(below, above) + 1) / (replicates + 1))
    return Difference(float(total_K[2] / total_K[3] - total_K[0] / total_K[1]), low, high, p)


def _columns(numerators: Numbers, denominators: Numbers) -> np.ndarray:
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if above.shape != below.shape or above.ndim != 1:
        raise ValueError(f"numerators {above.shape} and denominators {below.shape} must be two lists of one length")
    if len(above) == 0:
        raise ValueError("no items: a metric of nothing has no value")
    if not (np.isfinite(above).all() and np.isfinite(below).all() and (below > 0).all()):
        raise ValueError("numerators must be finite and denominators finite and positive: look for answers that are no numbers")
    return np.stack([above, below], axis=1)


def resample(columns_NK: np.ndarray, seed: int, replicates: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums (K,) of the columns over the items, and (replicates, K) over items drawn with replacement."""
    if replicates < 1:
        raise ValueError(f"replicates={replicates} gives no interval: give 1000 or more")
    generator = np.random.default_rng(seed)
    distinct_DK, counts_D = np.unique(columns_NK, axis=0, return_counts=True)
    size = len(columns_NK)
    chunk = max(1, CHUNK_BYTES // (8 * len(distinct_DK)))
    parts = [
        generator.multinomial(size, counts_D / size, size=min(chunk, replicates - start)) @ distinct_DK
        for start in range(0, replicates, chunk)
    ]
    return counts_D @ distinct_DK, np.concatenate(parts)


def percentiles(values_R: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level={level} is no share of the replicates: give a number between 0 and 1, such as 0.95")
    low, high = np.quantile(values_R, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
