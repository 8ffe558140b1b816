"""Whether later checkpoints of a task could have been foreseen: from the other tasks, or from a smaller model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from metier.pretrain.capability_dynamics.curves import Curve, by_series, common
from metier.pretrain.capability_dynamics.results import Interval, Prediction, Similarity

FEWEST_EARLY = 3  # a line through two points fits whatever they are

# C checkpoints, E of them early


class Errors(NamedTuple):
    """Mean absolute errors of one series after the early checkpoints."""

    error: float
    persistence: float
    trend: float
    stderr: float


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of least squares; slope 0 where x is constant."""
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 1e-18 else 0.0
    return slope, float(y.mean() - slope * x.mean())


def foreseen(target: Curve, regressor_C: np.ndarray, early: float) -> Errors | None:
    """Errors of target = a regressor + b, fitted where at most the share `early` of the last tokens was read; None for too few points."""
    early_C = target.tokens <= early * target.tokens[-1]
    if early_C.sum() < FEWEST_EARLY or early_C.all():
        return None
    later_C = ~early_C
    slope, intercept = line(regressor_C[early_C], target.values[early_C])
    trend_slope, trend_intercept = line(target.log_tokens[early_C], target.values[early_C])
    truth = target.values[later_C]

    def off(guess: np.ndarray | float) -> float:
        return float(np.abs(guess - truth).mean())

    return Errors(
        off(slope * regressor_C[later_C] + intercept),
        off(float(target.values[early_C][-1])),
        off(trend_slope * target.log_tokens[later_C] + trend_intercept),
        float(target.stderr[later_C].mean()),
    )


def from_other_tasks(curves: Sequence[Curve], early: float, replicates: int, seed: int) -> list[Prediction]:
    """Each task by the mean of the others of its domain, over all series."""
    found: dict[str, list[Errors]] = defaultdict(list)
    for members in by_series(curves).values():
        for target in members:
            others = [curve for curve in members if curve.domain == target.domain and curve.task != target.task]
            if not others:
                continue
            aligned, *rest = common(target, *others)
            errors = foreseen(aligned, np.mean([curve.values for curve in rest], axis=0), early) if len(aligned.tokens) else None
            if errors is not None:
                found[target.task].append(errors)
    return [_prediction(task, "other tasks", errors, replicates, seed) for task, errors in found.items()]


def from_smaller_models(
    curves: Sequence[Curve], early: float, replicates: int, seed: int
) -> tuple[list[Prediction], list[Similarity]]:
    """Each task of a model by the whole curve of the next smaller one (the nearest number of weights below), and how alike all are."""
    found: dict[str, list[Errors]] = defaultdict(list)
    similar = []
    for larger in curves:
        below = [curve for curve in curves if _same_but_smaller(curve, larger)]
        for smaller in below:
            ours, theirs = common(larger, smaller)
            if len(ours.tokens) >= FEWEST_EARLY:
                similar.append(_similarity(theirs, ours))
        if below:
            nearest = max(curve.params or 0 for curve in below)
            for smaller in (curve for curve in below if curve.params == nearest):
                ours, theirs = common(larger, smaller)
                errors = foreseen(ours, theirs.values, early) if len(ours.tokens) else None
                if errors is not None:
                    found[larger.task].append(errors)
    return [_prediction(task, "smaller model", errors, replicates, seed) for task, errors in found.items()], similar


def _same_but_smaller(curve: Curve, larger: Curve) -> bool:
    known = curve.params is not None and larger.params is not None
    return known and curve.task == larger.task and curve.setup == larger.setup and curve.params < larger.params  # type: ignore[operator]


def _similarity(smaller: Curve, larger: Curve) -> Similarity:
    slope, intercept = line(smaller.values, larger.values)
    constant = min(smaller.values.std(), larger.values.std()) < 1e-12
    return Similarity(
        larger.task,
        larger.setup,
        smaller.model,
        larger.model,
        len(larger.tokens),
        None if constant else float(np.corrcoef(smaller.values, larger.values)[0, 1]),
        float(np.abs(slope * smaller.values + intercept - larger.values).mean()),
    )


def _prediction(
    task: str, by: Literal["other tasks", "smaller model"], errors: Sequence[Errors], replicates: int, seed: int
) -> Prediction:
    mean = Errors(*np.mean(errors, axis=0).tolist())
    gains = np.array([one.persistence - one.error for one in errors])
    low = high = None
    if len(gains) >= 3:
        drawn = np.random.default_rng(seed).choice(gains, size=(replicates, len(gains))).mean(1)
        low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
    advantage = Interval(mean.persistence - mean.error, low, high)
    if low is not None and low > 0 and mean.error < mean.trend:
        return Prediction(task, by, len(errors), *mean, advantage, "predictable")
    worse = high is not None and high < 0
    return Prediction(task, by, len(errors), *mean, advantage, "worse than persistence" if worse else "not predictable yet")
