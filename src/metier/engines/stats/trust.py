"""Which metrics of a training run deserve trust: those that rise with training, rank models as their tuned versions rank, and see
more than their own noise.

Stability is tau-b of step and score, consistency tau-b of base models' scores and their tuned versions' (arXiv 2503.00812; the
definitions are read from its abstract, the thresholds are ours). Both say nothing of size, so the rise is also given in standard
errors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metier.engines.stats.rank import Rank, kendall, kendall_interval

LEAST_CHECKPOINTS, LEAST_MODELS = 4, 6
CLEAR_RISE = 2.0  # standard errors between a run's beginning and end below which a metric has seen no training


@dataclass(frozen=True)
class Trust:
    """What a metric is worth for following a run.

    stability, stability_p: tau-b of step and score over the run, 1 where every later checkpoint is better; nan where all are tied
    early: the same over the first third of the checkpoints, where metrics jitter most; nan below 4 of them
    rise: mean score of the last third less that of the first, in standard errors of that difference; None without errors
    consistency, consistency_p, consistency_low, consistency_high: tau-b of (base, tuned) scores over models with its p-value and
        95% bootstrap interval; None below two models, or where all are tied
    verdict: keep; re-form (ask the task in another form); drop (its items are too few to see the training); reason: the rule that
        fired
    """

    metric: str
    num_checkpoints: int
    stability: float
    stability_p: float
    early: float
    rise: float | None
    num_models: int
    consistency: float | None
    consistency_p: float | None
    consistency_low: float | None
    consistency_high: float | None
    verdict: Literal["keep", "re-form", "drop"]
    reason: str


def trust(
    metric: str,
    steps: Sequence[float],
    scores: Sequence[float],
    *,
    errors: Sequence[float] | None = None,
    pairs: Sequence[tuple[float, float]] = (),
    better: Literal["higher", "lower"] = "higher",
    min_stability: float = 0.7,
    min_consistency: float = 0.6,
    seed: int = 0,
) -> Trust:
    """The trust that the scores of one metric along a run earn, and the scores of (base, tuned) models where there are such
    pairs.

    errors: each score's standard error over items, sqrt(p (1 - p) / n) for an accuracy
    Raises ValueError, naming the metric, for fewer than 4 checkpoints, steps that do not rise, and lists that do not match.
    """
    _check(metric, steps, scores, errors)
    sign = 1.0 if better == "higher" else -1.0
    ranked = [sign * score for score in scores]
    third = math.ceil(len(steps) / 3)
    stability = kendall(steps, ranked)
    early = kendall(steps[:third], ranked[:third]).tau if third >= LEAST_CHECKPOINTS else math.nan
    rise = _rise(ranked, errors, third) if errors is not None else None
    consistency, low, high = _consistency(pairs, seed)
    known = consistency.tau if consistency is not None and len(pairs) >= LEAST_MODELS else None
    verdict, reason = _verdict(stability, rise, known, len(pairs), min_stability, min_consistency)
    return Trust(
        metric=metric,
        num_checkpoints=len(steps),
        stability=stability.tau,
        stability_p=stability.p,
        early=early,
        rise=rise,
        num_models=len(pairs),
        consistency=consistency.tau if consistency is not None else None,
        consistency_p=consistency.p if consistency is not None else None,
        consistency_low=low,
        consistency_high=high,
        verdict=verdict,
        reason=reason,
    )


def _check(metric: str, steps: Sequence[float], scores: Sequence[float], errors: Sequence[float] | None) -> None:
    if len(steps) != len(scores) or (errors is not None and len(errors) != len(scores)):
        raise ValueError(f"{metric}: {len(steps)} steps, {len(scores)} scores and their errors do not match")
    if len(steps) < LEAST_CHECKPOINTS:
        raise ValueError(f"{metric}: {len(steps)} checkpoints show no course: give {LEAST_CHECKPOINTS} or more")
    if any(later <= sooner for sooner, later in itertools.pairwise(steps)):
        raise ValueError(f"{metric}: the steps {list(steps)} do not rise: sort the checkpoints and give each once")


def _rise(ranked: Sequence[float], errors: Sequence[float], third: int) -> float:
    difference = (math.fsum(ranked[-third:]) - math.fsum(ranked[:third])) / third
    error = math.sqrt(math.fsum(error**2 for error in [*errors[:third], *errors[-third:]])) / third
    if error == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / error


def _consistency(pairs: Sequence[tuple[float, float]], seed: int) -> tuple[Rank | None, float | None, float | None]:
    bases, tuned = [base for base, _ in pairs], [tuned for _, tuned in pairs]
    if len(set(bases)) < 2 or len(set(tuned)) < 2:
        return None, None, None
    interval = kendall_interval(bases, tuned, seed=seed)
    return kendall(bases, tuned), interval.low, interval.high


def _verdict(
    stability: Rank, rise: float | None, consistency: float | None, num_models: int, min_stability: float, min_consistency: float
) -> tuple[Literal["keep", "re-form", "drop"], str]:
    if math.isnan(stability.tau):
        return "drop", "all checkpoints have the same score"
    if rise is not None and abs(rise) < CLEAR_RISE:
        needed = f"about {math.ceil((CLEAR_RISE / rise) ** 2)} times" if abs(rise) > 0.01 else "far more than 10,000 times"
        return (
            "drop",
            f"beginning and end differ by {rise:.1f} standard errors: it would take {needed} the items to see a difference",
        )
    if stability.tau < min_stability:
        return "re-form", f"stability {stability.tau:.2f} is below {min_stability}"
    if consistency is not None and consistency < min_consistency:
        return "re-form", f"consistency {consistency:.2f} is below {min_consistency}"
    if consistency is None:
        return (
            "keep",
            f"stability {stability.tau:.2f}; consistency is open with {num_models} of the {LEAST_MODELS} models it takes",
        )
    return "keep", f"stability {stability.tau:.2f} and consistency {consistency:.2f}"
