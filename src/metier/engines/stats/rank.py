"""Rank agreement: Kendall's tau-b, with a p-value that fits the number of points and their ties."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from metier.engines.stats.bootstrap import Interval

# N points, P = N (N - 1) / 2 pairs of them, R replicates

MOST_PERMUTED = 9  # 9! orders are counted in half a second; more points have a good approximation
CHUNK_PAIRS = 4_000_000


class Rank(NamedTuple):
    """tau-b in [-1, 1] and the two-sided p-value of no association; both nan where one side is all ties, for then nothing is
    ranked."""

    tau: float
    p: float


def kendall(x: Sequence[float], y: Sequence[float]) -> Rank:
    """(C - D) / sqrt((C + D + Tx)(C + D + Ty)) of concordant, discordant and tied pairs (Kendall 1945).

    The p-value counts all orders of y: up to 9 points with ties and, by scipy, up to 33 without; beyond that it is the normal
    approximation's. Raises ValueError for fewer than two points, unequal lengths, and numbers that are not finite.
    """
    x_N, y_N = _points(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns where a side is constant; nan says it here
        found = stats.kendalltau(x_N, y_N)
    tau = float(found.statistic)
    tied = len(np.unique(x_N)) < len(x_N) or len(np.unique(y_N)) < len(y_N)
    if tied and len(x_N) <= MOST_PERMUTED and np.isfinite(tau):
        return Rank(tau, _permutation_p(x_N, y_N))
    return Rank(tau, float(found.pvalue))


def kendall_interval(
    x: Sequence[float], y: Sequence[float], *, seed: int, replicates: int = 2_000, level: float = 0.95
) -> Interval:
    """tau-b with its percentile bootstrap interval over points drawn with replacement.

    A point drawn twice is a tie on both sides and counts for nothing; draws in which nothing is ranked are left out. Meant for
    points that are independent, such as models; the checkpoints of a run are not. Raises ValueError as `kendall` does, and where
    no draw ranks anything.
    """
    x_N, y_N = _points(x, y)
    first_P, second_P = np.triu_indices(len(x_N), 1)
    generator = np.random.default_rng(seed)
    values: list[np.ndarray] = []
    step = max(1, CHUNK_PAIRS // len(first_P))
    for start in range(0, replicates, step):
        drawn_RN = generator.integers(len(x_N), size=(min(step, replicates - start), len(x_N)))
        x_RP, y_RP = (_signs(side[drawn_RN], first_P, second_P) for side in (x_N, y_N))
        with np.errstate(invalid="ignore"):
            values.append((x_RP * y_RP).sum(1) / np.sqrt((x_RP**2).sum(1) * (y_RP**2).sum(1)))
    found_R = np.concatenate(values)
    found_R = found_R[np.isfinite(found_R)]
    if len(found_R) == 0:
        raise ValueError("all points are tied on one side: there is no rank agreement to give an interval of")
    low, high = np.quantile(found_R, [(1 - level) / 2, (1 + level) / 2])
    return Interval(kendall(x, y).tau, float(low), float(high))


def _points(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x_N, y_N = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x_N.shape != y_N.shape or x_N.ndim != 1 or len(x_N) < 2:
        raise ValueError(f"ranks of {x_N.shape} and {y_N.shape} numbers: give two lists of one length, of two or more")
    if not (np.isfinite(x_N).all() and np.isfinite(y_N).all()):
        raise ValueError("numbers to rank must be finite: leave points without a score out on both sides")
    return x_N, y_N


def _signs(values: np.ndarray, first_P: np.ndarray, second_P: np.ndarray) -> np.ndarray:
    """-1, 0 or 1 for each pair along the last axis."""
    return np.asarray(np.sign(values[..., first_P] - values[..., second_P]))


def _permutation_p(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """The share of all orders of y whose concordant less discordant pairs are as far from 0 as those found; ties stay the
    same."""
    first_P, second_P = np.triu_indices(len(x_N), 1)
    x_P = _signs(x_N, first_P, second_P).astype(np.int8)
    y_NN = np.sign(y_N[:, None] - y_N[None, :]).astype(np.int8)
    found = abs(int((x_P * y_NN[first_P, second_P]).sum()))
    as_far = total = 0
    orders = itertools.permutations(range(len(x_N)))
    while chunk := list(itertools.islice(orders, 50_000)):
        order_RN = np.array(chunk, dtype=np.int8)
        sums_R = (x_P * y_NN[order_RN[:, first_P], order_RN[:, second_P]]).sum(1, dtype=np.int64)
        as_far += int((np.abs(sums_R) >= found).sum())
        total += len(order_RN)
    return as_far / total
