"""Agreement beyond chance between those who label: Cohen's kappa, Gwet's AC1, Fleiss' kappa, Krippendorff's alpha, with intervals.

Each is a function of sums over items, so its interval is the bootstrap's of those sums: items are drawn with replacement, all labels of
an item together (engines/stats/bootstrap.py). A draw in which everybody says the same has no chance-corrected agreement; it is left out of
the percentiles. Kappa is low wherever one label is frequent, however often raters agree (Feinstein and Cicchetti 1990): give AC1 beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np

from metier.engines.stats.bootstrap import Interval, percentiles, resample

# N items, R raters, C categories, K numbers an item

Weights = Literal["none", "linear", "quadratic"]
Distance = Literal["nominal", "ordinal", "interval"]
Labels = Sequence[Hashable]
Ratings = Sequence[Sequence[Hashable | None]]  # item by item, one place a rater, None where that rater did not label it


def cohen_kappa(
    first: Labels,
    second: Labels,
    *,
    categories: Labels | None = None,
    weights: Weights = "none",
    seed: int = 0,
    replicates: int = 2_000,
    level: float = 0.95,
) -> Interval:
    """1 - observed disagreement / disagreement expected of two raters with these marginals (Cohen 1960; weighted 1968).

    categories: all labels, in order of the scale where weights are used; None for those that occur, numbers in their order
    weights: of a disagreement between categories i and j: 1, |i - j| or (i - j)^2, by place in `categories`
    Raises ValueError for no items, lists of two lengths, a label that is no category, and where all labels are one and the same.
    """
    cells_NK, size = _cells(first, second, _scale([first, second], categories, ordered=weights != "none"))
    places = np.arange(size)
    apart_CC = np.abs(places[:, None] - places[None, :]).astype(np.float64)
    weights_CC = (apart_CC > 0).astype(np.float64) if weights == "none" else apart_CC ** (1 if weights == "linear" else 2)

    def kappa(sums_K: np.ndarray) -> float:
        share_CC = sums_K.reshape(size, size) / sums_K.sum()
        expected = float((weights_CC * np.outer(share_CC.sum(1), share_CC.sum(0))).sum())
        return 1 - float((weights_CC * share_CC).sum()) / expected if expected > 0 else math.nan

    return _interval(cells_NK, kappa, seed, replicates, level)


def gwet_ac1(
    first: Labels,
    second: Labels,
    *,
    categories: Labels | None = None,
    seed: int = 0,
    replicates: int = 2_000,
    level: float = 0.95,
) -> Interval:
    """(agreement - pe) / (1 - pe) with pe = sum of p (1 - p) / (C - 1) over categories, p their mean share (Gwet 2008).

    Stays near the agreement where one label is frequent. Give `categories` where some may not occur: their number counts. Raises ValueError
    as cohen_kappa does.
    """
    cells_NK, size = _cells(first, second, _scale([first, second], categories, ordered=False))

    def ac1(sums_K: np.ndarray) -> float:
        share_CC = sums_K.reshape(size, size) / sums_K.sum()
        mean_C = (share_CC.sum(0) + share_CC.sum(1)) / 2
        chance = float((mean_C * (1 - mean_C)).sum()) / (size - 1)
        return (float(np.trace(share_CC)) - chance) / (1 - chance)

    return _interval(cells_NK, ac1, seed, replicates, level)


def fleiss_kappa(
    ratings: Ratings,
    *,
    categories: Labels | None = None,
    seed: int = 0,
    replicates: int = 2_000,
    level: float = 0.95,
) -> Interval:
    """Agreement of any number of interchangeable raters, each item labelled equally often (Fleiss 1971).

    Raises ValueError for items with missing labels (krippendorff_alpha takes them), fewer than two labels an item, and as cohen_kappa does.
    """
    counts_NC = _counts(ratings, _scale(ratings, categories, ordered=False))
    per_item = set(counts_NC.sum(1).astype(int).tolist())
    if len(per_item) != 1 or min(per_item) < 2:
        raise ValueError(
            f"Fleiss' kappa needs equally many labels an item, two or more; here {sorted(per_item)}: use krippendorff_alpha"
        )
    raters = per_item.pop()
    agreeing_N = ((counts_NC * (counts_NC - 1)).sum(1)) / (raters * (raters - 1))

    def kappa(sums_K: np.ndarray) -> float:
        num_items = sums_K[:-1].sum() / raters
        chance = float(((sums_K[:-1] / sums_K[:-1].sum()) ** 2).sum())
        return (float(sums_K[-1] / num_items) - chance) / (1 - chance) if chance < 1 else math.nan

    return _interval(np.column_stack([counts_NC, agreeing_N]), kappa, seed, replicates, level)


def krippendorff_alpha(
    ratings: Ratings,
    *,
    distance: Distance = "nominal",
    categories: Labels | None = None,
    seed: int = 0,
    replicates: int = 2_000,
    level: float = 0.95,
) -> Interval:
    """1 - observed / expected disagreement of any number of raters, with any labels missing (Krippendorff 2011, coincidence matrices).

    Items with fewer than two labels say nothing of agreement and do not count.
    distance: nominal: labels are equal or not; ordinal: squared number of labels given between the two; interval: squared difference of
        the labels themselves, which must be numbers
    categories: all labels, in order of the scale for ordinal ones; None for those that occur, numbers in their order
    Raises ValueError where no item has two labels, and as cohen_kappa does.
    """
    scale = _scale(ratings, categories, ordered=distance != "nominal")
    counts_NC = _counts(ratings, scale)
    counts_NC = counts_NC[counts_NC.sum(1) >= 2]
    if len(counts_NC) == 0:
        raise ValueError("no item has two labels, so there is no agreement to measure: have some items labelled twice")
    size = len(scale)
    pairs_NCC = counts_NC[:, :, None] * counts_NC[:, None, :] - counts_NC[:, :, None] * np.eye(size)
    coincidences_NK = (pairs_NCC / (counts_NC.sum(1) - 1)[:, None, None]).reshape(len(counts_NC), -1)
    squared_CC = _interval_distance(scale) if distance == "interval" else 1 - np.eye(size)

    def alpha(sums_K: np.ndarray) -> float:
        seen_CC = sums_K.reshape(size, size)
        marginal_C = seen_CC.sum(0)
        apart_CC = _ordinal_distance(marginal_C) if distance == "ordinal" else squared_CC
        expected = float((apart_CC * np.outer(marginal_C, marginal_C)).sum()) / (marginal_C.sum() - 1)
        return 1 - float((apart_CC * seen_CC).sum()) / expected if expected > 0 else math.nan

    return _interval(coincidences_NK, alpha, seed, replicates, level)


def _interval_distance(scale: list[Any]) -> np.ndarray:
    try:
        values_C = np.asarray(scale, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"interval distances need numbers as labels; these are {scale[:5]}: use ordinal") from error
    return np.asarray((values_C[:, None] - values_C[None, :]) ** 2)


def _ordinal_distance(marginal_C: np.ndarray) -> np.ndarray:  # labels from c to k, half of those at either end
    middle_C = np.cumsum(marginal_C) - marginal_C / 2
    return np.asarray((middle_C[:, None] - middle_C[None, :]) ** 2)


def _scale(ratings: Ratings, categories: Labels | None, *, ordered: bool) -> list[Any]:
    """The categories in order, checked against what occurs."""
    occurring: list[Any] = list(dict.fromkeys(label for labels in ratings for label in labels if label is not None))
    if not occurring:
        raise ValueError("there are no labels, so there is no agreement to measure")
    if categories is None:
        numbers = all(isinstance(label, int | float) for label in occurring)
        if ordered and not numbers:
            raise ValueError(f"the order of the labels {occurring[:5]} is not known: give `categories` from one end to the other")
        scale = sorted(occurring) if numbers else occurring
    else:
        scale = list(categories)
        unknown = [label for label in occurring if label not in scale]
        if unknown or len(set(scale)) != len(scale):
            raise ValueError(f"the labels {unknown[:5]} are not among the categories {scale}, or one of these stands there twice")
    if len(set(occurring)) == 1:
        raise ValueError(f"every label is {occurring[0]!r}: agreement beyond chance is not defined, give the plain agreement")
    return scale


def _cells(first: Labels, second: Labels, scale: list[Any]) -> tuple[np.ndarray, int]:
    """(N, C * C), one 1 a row: which cell of the table of both raters the item falls in."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} labels do not pair: both raters must have labelled the same items")
    place = {label: number for number, label in enumerate(scale)}
    if any(label is None for label in (*first, *second)):
        raise ValueError("some labels are missing: leave those items out for both raters, or use krippendorff_alpha")
    cells_NK = np.zeros((len(first), len(scale) ** 2))
    for row, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        cells_NK[row, place[ours] * len(scale) + place[theirs]] = 1
    return cells_NK, len(scale)


def _counts(ratings: Ratings, scale: list[Any]) -> np.ndarray:
    """(N, C): how often each item was given each label."""
    place = {label: number for number, label in enumerate(scale)}
    counts_NC = np.zeros((len(ratings), len(scale)))
    for row, labels in enumerate(ratings):
        for label in labels:
            if label is not None:
                counts_NC[row, place[label]] += 1
    return counts_NC


def _interval(
    columns_NK: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int, replicates: int, level: float
) -> Interval:
    """The statistic of the columns' sums, with the percentiles of its bootstrap replicates."""
    used_K = columns_NK.any(axis=0)  # of many categories most pairs never occur
    total_U, sums_RU = resample(columns_NK[:, used_K], seed, replicates)

    def value(sums_U: np.ndarray) -> float:
        sums_K = np.zeros(columns_NK.shape[1])
        sums_K[used_K] = sums_U
        return statistic(sums_K)

    values_R = np.array([value(sums_U) for sums_U in sums_RU])
    low, high = percentiles(values_R[~np.isnan(values_R)], level)
    return Interval(value(total_U), low, high)
