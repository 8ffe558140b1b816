"""Exact tests and intervals for counts."""

from __future__ import annotations

from scipy import stats

from metier.engines.stats.bootstrap import Interval


def binomial_interval(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """The share of successes with its exact interval (Clopper and Pearson 1934). Raises ValueError for no trials."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials have no share")
    found = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    return Interval(successes / trials, float(found.low), float(found.high))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value that two models which disagree on these many items are equally good (McNemar 1947)."""
    disagreements = only_first + only_second
    return float(stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
