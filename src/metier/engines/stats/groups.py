"""Means over tasks with intervals: rows are drawn within each task, and tasks too where they are to stand for others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metier.engines.stats.bootstrap import Interval

# G groups, N rows of a group, K numbers a row, D distinct rows, R replicates


def mean_of_groups(
    groups: Sequence[np.ndarray], *, draw_groups: bool, seed: int, replicates: int = 10_000, level: float = 0.95
) -> list[Interval]:
    """For each of K numbers, the mean over groups of the mean over rows, with its percentile bootstrap interval.

    groups: arrays (N, K), all numbers of a row drawn together, so that differences of two numbers have the interval of a third
        column
    draw_groups: whether groups are drawn with replacement too (how it would be on other tasks), or are the ones meant
    Raises ValueError for no groups, empty ones, and arrays that do not match.
    """
    if not groups or any(group.ndim != 2 or len(group) == 0 or group.shape[1] != groups[0].shape[1] for group in groups):
        raise ValueError(f"groups of shapes {[group.shape for group in groups]}: give one or more of (rows, numbers), none empty")
    generator = np.random.default_rng(seed)
    drawn_GRK = np.stack([_resampled_means(group, replicates, generator) for group in groups])
    if draw_groups:
        chosen_GR = generator.integers(len(groups), size=(len(groups), replicates))
        drawn_GRK = drawn_GRK[chosen_GR, np.arange(replicates)]
    low_K, high_K = np.quantile(drawn_GRK.mean(0), [(1 - level) / 2, (1 + level) / 2], axis=0)
    value_K = np.stack([group.mean(0) for group in groups]).mean(0)
    return [Interval(float(value), float(low), float(high)) for value, low, high in zip(value_K, low_K, high_K, strict=True)]


def _resampled_means(rows_NK: np.ndarray, replicates: int, generator: np.random.Generator) -> np.ndarray:
    distinct_DK, counts_D = np.unique(rows_NK, axis=0, return_counts=True)
    counts_RD = generator.multinomial(len(rows_NK), counts_D / len(rows_NK), size=replicates)
    return np.asarray(counts_RD @ distinct_DK / len(rows_NK))
