"""A power law with a floor through a task's errors, with intervals."""

from __future__ import annotations

import numpy as np

from metier.pretrain.capability_dynamics.curves import Curve
from metier.pretrain.capability_dynamics.results import Interval, Law

FEWEST = 8  # checkpoints for three parameters
EXPONENTS = np.geomspace(0.02, 3.0, 300)
FURTHEST = 2.0  # times the data beyond which a curve promises nothing

# C checkpoints, B exponents tried, R replicates


def law_of(curve: Curve, replicates: int, seed: int) -> Law | None:
    """The law of least squared error with a floor in [0, 1] and no negative scale; None for fewer than 8 checkpoints after the untrained.

    Intervals: percentiles over errors drawn anew about the fitted law, with the items' standard errors or, where that is larger, the spread
    that the fit left. Accuracies at neighbouring checkpoints share their items, so what is drawn is, if anything, too rough.
    """
    curve = curve.of(curve.tokens > 0)
    if len(curve.tokens) < FEWEST:
        return None
    error_C, at_C = 1 - curve.rescaled, curve.tokens / curve.tokens[0]
    floor, scale, exponent = (float(part[0]) for part in fit(error_C[None], at_C))
    fitted_C = floor + scale * at_C**-exponent
    left = float(np.sqrt(((error_C - fitted_C) ** 2).sum() / (len(error_C) - 3)))
    spread_C = np.maximum(curve.rescaled_stderr, left)
    drawn_RC = fitted_C + spread_C * np.random.default_rng(seed).standard_normal((replicates, len(error_C)))
    intervals = [
        Interval(value, *(float(end) for end in np.quantile(draws, [0.025, 0.975])))
        for value, draws in zip((floor, scale, exponent), fit(drawn_RC, at_C), strict=True)
    ]
    reason = ""
    if scale <= 0:
        reason = "the error does not fall"
    elif exponent in (EXPONENTS[0], EXPONENTS[-1]):
        reason = f"the exponent {exponent:.2f} lies at an end of its range"
    return Law(
        curve.model,
        curve.setup,
        curve.task,
        floor=intervals[0],
        scale=intervals[1],
        exponent=intervals[2],
        first=float(curve.tokens[0]),
        trusted_until=FURTHEST * float(curve.tokens[-1]),
        reason=reason,
    )


def fit(errors_RC: np.ndarray, at_C: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Floors, scales and exponents (R,) of error = floor + scale at^-exponent: for a fixed exponent a line, so all are tried."""
    best_R = np.full(len(errors_RC), np.inf)
    floor_R, scale_R, exponent_R = (np.zeros(len(errors_RC)) for _ in range(3))
    for exponent in EXPONENTS:
        floors, scales = _line(errors_RC, at_C**-exponent)
        cost = ((errors_RC - floors[:, None] - scales[:, None] * at_C**-exponent) ** 2).sum(1)
        better = cost < best_R
        best_R = np.where(better, cost, best_R)
        floor_R, scale_R = np.where(better, floors, floor_R), np.where(better, scales, scale_R)
        exponent_R = np.where(better, exponent, exponent_R)
    return floor_R, scale_R, exponent_R


def _line(y_RC: np.ndarray, x_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts in [0, 1] and slopes of at least 0 of least squares: the free one, else the best on the border."""
    centred_C, mean_R = x_C - x_C.mean(), y_RC.mean(1)
    slope_R = y_RC @ centred_C / (centred_C @ centred_C)
    intercept_R = mean_R - slope_R * x_C.mean()
    held_R = intercept_R.clip(0, 1)
    slope_R = np.where(held_R == intercept_R, slope_R, (y_RC - held_R[:, None]) @ x_C / (x_C @ x_C))
    falls_R = slope_R < 0
    return np.where(falls_R, mean_R.clip(0, 1), held_R), np.where(falls_R, 0.0, slope_R)
