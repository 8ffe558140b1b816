"""What two models' answers to the same items can support: the bootstrap's interval, kept honest where items are few.

A percentile bootstrap sees only what was drawn. A single item is better with certainty for it, and so are four of 500 answers when all
four changed for the better, though chance alone does that once in eight. Here answers that are right or wrong get an interval that
agrees with the exact test, other numbers one that is widened for few items.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from metier.engines.stats.bootstrap import Difference, Numbers, paired_difference
from metier.engines.stats.exact import binomial_interval, mcnemar_p


def compare_pairs(
    first: tuple[Numbers, Numbers],
    second: tuple[Numbers, Numbers],
    *,
    seed: int,
    replicates: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Ratio of `second` minus ratio of `first`, each (numerators, denominators) of the same n items in the same order.

    Right or wrong (numerators 0 or 1, denominators 1): p is McNemar's exact one, and the interval spans the bootstrap's and the exact one
    given the number of disagreements, so that it excludes 0 only where p is below 1 - level. Without a disagreement it is a point at 0.
    Other numbers: percentiles are moved outwards as Student's t is wider than the normal (Hesterberg 2015, "What Teachers Should Know
    about the Bootstrap", section 5.3). n items that all point one way do so by chance with probability 2^(1 - n): p is at least that, and
    where that is more than 1 - level (fewer than 6 items at 0.95) the interval holds 0. Raises ValueError as paired_difference does.
    """
    size = len(first[0])
    if _right_or_wrong(first, second):
        found = paired_difference(first, second, seed=seed, replicates=replicates, level=level)
        was, now = np.asarray(first[0]), np.asarray(second[0])
        gained, lost = int((now > was).sum()), int((now < was).sum())
        if gained + lost == 0:
            return found
        share = binomial_interval(gained, gained + lost, level=level)
        low, high = ((gained + lost) * (2 * end - 1) / size for end in (share.low, share.high))
        return Difference(found.value, min(found.low, low), max(found.high, high), mcnemar_p(lost, gained))
    found = paired_difference(first, second, seed=seed, replicates=replicates, level=_widened(level, size))
    one_way = 2.0 ** (1 - size)
    if one_way > 1 - level:
        found = found._replace(low=min(found.low, 0.0), high=max(found.high, 0.0))
    return found._replace(p=max(found.p, one_way))


def _right_or_wrong(*answers: tuple[Numbers, Numbers]) -> bool:
    return all(
        np.isin(np.asarray(numerators), (0, 1)).all() and (np.asarray(denominators) == 1).all()
        for numerators, denominators in answers
    )


def _widened(level: float, size: int) -> float:
    """The level whose normal quantile is that of Student's t, for a variance from `size` items; `level` itself where t has none."""
    if size < 2:
        return level
    quantile = np.sqrt(size / (size - 1)) * stats.t.ppf((1 + level) / 2, size - 1)
    return min(float(2 * stats.norm.cdf(quantile) - 1), 1 - 1e-12)  # two items give a quantile that rounds to 1
