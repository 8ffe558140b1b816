"""Filters' thresholds carried over from English to another language, or from the web to a domain, by text that is known to be
good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from metier.engines.data.page_statistics import STATISTICS, Group, Statistic

Rule = Literal["english", "mean_std", "quantile", "ten_tail", "median_ratio"]
RULES: tuple[Rule, ...] = get_args(Rule)
TAIL = 0.1


@dataclass(frozen=True)
class Threshold:
    """A threshold; low, high: where the quantile of all text of this kind lies with 95% certainty, for the rule "ten_tail"
    only."""

    value: float
    low: float | None = None
    high: float | None = None


def derive(
    statistic: Statistic, rule: Rule, reference: ArrayLike, english: ArrayLike | None = None, *, tail: float = TAIL
) -> Threshold:
    """The threshold that a rule gives a statistic, from its values on good text and on English text.

    With t FineWeb's threshold for English, m and s the mean and standard deviation: "english" t; "mean_std" m + s (t - m_en) /
    s_en; "quantile" the reference's quantile at the share of English values up to t; "ten_tail" the quantile that a share `tail`
    of the reference lies beyond, on the bad side, and no more; "median_ratio" t times the ratio of medians. Quantiles are values
    that occur. Raises ValueError where a rule needs English text and has none, and for "mean_std" and "median_ratio" where
    English doesn't vary or has the median 0.
    """
    values, limit = _finite(reference, "reference"), statistic.english
    if rule == "english":
        return Threshold(limit)
    if rule == "ten_tail":
        share = 1 - tail if statistic.good == "below" else tail
        return Threshold(_tail_quantile(values, tail, statistic.good), *_quantile_interval(values, share))
    if english is None:
        raise ValueError(f"the rule {rule!r} compares with English text and there is none: give `english`, or take 'ten_tail'")
    others = _finite(english, "English text")
    if rule == "quantile":
        return Threshold(_quantile(values, float(np.mean(others <= limit))))
    if rule == "mean_std":
        if others.std() == 0:
            raise ValueError(
                f"all values of the English text are {others[0]:g}: 'mean_std' is undefined, take 'quantile' or 'ten_tail'"
            )
        return Threshold(float(values.mean() + values.std() * (limit - others.mean()) / others.std()))
    if np.median(others) == 0:
        raise ValueError("the median of the English text is 0: 'median_ratio' is undefined, take 'quantile' or 'ten_tail'")
    return Threshold(float(limit * np.median(values) / np.median(others)))


def derive_all(
    rules: Mapping[Group, Rule],
    reference: Mapping[str, Sequence[float]],
    english: Mapping[str, Sequence[float]] | None = None,
    *,
    tail: float = TAIL,
) -> dict[str, Threshold]:
    """A threshold for each statistic of a page, by the rule of its group. Raises ValueError naming the statistic."""
    found = {}
    for name, statistic in STATISTICS.items():
        try:
            others = english[name] if english is not None else None
            found[name] = derive(statistic, rules[statistic.group], reference[name], others, tail=tail)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def score_threshold(scores: ArrayLike, lowest: float = 0.3, highest: float = 0.9) -> float:
    """The least score of a language label worth keeping: median minus standard deviation of all its scores, within the two
    bounds."""
    values = _finite(scores, "scores")
    return float(np.clip(np.median(values) - values.std(), lowest, highest))


def _finite(values: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.size == 0:
        raise ValueError(f"the {what} holds no document: a threshold can't be derived from nothing")
    if not np.isfinite(array).all():
        raise ValueError(f"the {what} holds a value that is no finite number: {array[~np.isfinite(array)][0]}")
    return array


def share_lost(values: Mapping[str, Sequence[float]], thresholds: Mapping[str, Threshold]) -> float:
    """The share of documents, given by their values, that at least one of the thresholds drops."""
    bad = [
        np.asarray(values[name]) > limit.value if STATISTICS[name].good == "below" else np.asarray(values[name]) < limit.value
        for name, limit in thresholds.items()
    ]
    return float(np.mean(np.any(bad, axis=0)))


def _tail_quantile(values: np.ndarray, tail: float, good: str) -> float:
    """The tightest of the values beyond which there are at most `tail` of them."""
    ranked, beyond = np.sort(values), math.floor(len(values) * tail + 1e-9)
    return float(ranked[-1 - beyond] if good == "below" else ranked[beyond])


def _quantile(values: np.ndarray, share: float) -> float:
    """The smallest value up to which there are `share` of all. A share that is a ratio of counts is not rounded up to the next
    value."""
    return float(np.sort(values)[max(0, math.ceil(len(values) * share - 1e-9) - 1)])


def _quantile_interval(values: np.ndarray, share: float) -> tuple[float, float]:
    """The order statistics between which the quantile lies with at least 95% probability (binomial, normal approximation widened
    by one)."""
    half = 1.96 * math.sqrt(len(values) * share * (1 - share))
    low, high = math.floor(len(values) * share - half) - 1, math.ceil(len(values) * share + half)
    ranked = np.sort(values)
    return float(ranked[max(0, low)]), float(ranked[min(len(values) - 1, high)])
