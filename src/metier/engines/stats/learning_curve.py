"""Accuracy by number of labels: a power law through the points, and where it passes a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

# S sizes, D draws of labels a size, R replicates

EXPONENTS = (0.1, 2.0)
FURTHEST = 8  # times the data beyond which a curve says nothing
FALLS = 0.02  # how much a later point may lie below the best before it, from noise


@dataclass(frozen=True)
class Curve:
    """accuracy(n) = a - b n^-c. `usable`: whether it may be read beyond the data; `reason`: why not, else ""."""

    a: float
    b: float
    c: float
    usable: bool
    reason: str = ""

    def at(self, labels: float | np.ndarray) -> np.ndarray:
        return np.asarray(self.a - self.b * np.asarray(labels, dtype=np.float64) ** -self.c)

    def reaches(self, level: float) -> float:
        """The number of labels at which the curve is at `level`; inf where it never gets there."""
        if self.a <= level or self.b <= 0:
            return np.inf if self.a <= level else 0.0
        return float((self.b / (self.a - level)) ** (1 / self.c))


def fit_curve(sizes: Sequence[int], accuracies: Sequence[float]) -> Curve:
    """The power law of least squared error with a in [0, 1], b in [0, 2], c in [0.1, 2].

    Not usable beyond the data where points fall with more labels, or c lies at an end of its range. Raises ValueError below 3
    sizes.
    """
    n_S, y_S = np.asarray(sizes, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    if len(n_S) < 3 or n_S.shape != y_S.shape or (n_S <= 0).any():
        raise ValueError(f"{len(n_S)} sizes and {len(y_S)} accuracies give no curve of three parameters: give 3 or more of both")

    def best(exponent: float) -> tuple[float, float, float]:
        """Error, a and b for an exponent: for a fixed c the law is linear in a and b."""
        design_S2 = np.stack([np.ones_like(n_S), -(n_S**-exponent)], axis=1)
        found = optimize.lsq_linear(design_S2, y_S, bounds=([0, 0], [1, 2]), method="bvls")
        return float(found.cost), float(found.x[0]), float(found.x[1])

    grid = np.geomspace(*EXPONENTS, 25)
    place = int(np.argmin([best(exponent)[0] for exponent in grid]))
    around = (grid[max(0, place - 1)], grid[min(len(grid) - 1, place + 1)])
    c = float(optimize.minimize_scalar(lambda exponent: best(exponent)[0], bounds=around, method="bounded").x)
    _, a, b = best(c)
    reason = ""
    if (np.maximum.accumulate(y_S) - y_S).max() > FALLS:
        reason = "accuracy falls with more labels"
    elif c < EXPONENTS[0] * 1.01 or c > EXPONENTS[1] * 0.99:
        reason = f"the exponent {c:.2f} lies at an end of its range"
    return Curve(a, b, c, usable=not reason, reason=reason)


@dataclass(frozen=True)
class Crossover:
    """Where a curve passes a level. observed: least size of the data from which on its lower bound is above the level's upper
    one; predicted: the same by the curve, beyond the data and up to 8 times it; estimate: where curve and level themselves
    meet."""

    observed: int | None
    predicted: int | None
    estimate: float | None
    reason: str


def find_crossover(
    sizes: Sequence[int],
    accuracies: Sequence[Sequence[float]],
    num_test: int,
    level_high: float,
    *,
    level_value: float,
    seed: int,
    level: float = 0.90,
    replicates: int = 100,
) -> Crossover:
    """Where a tuned model of these accuracies (D draws for each of S sizes, on num_test rows) surely passes a level.

    Replicates draw the draws with replacement and the test's rows as a binomial does; a bound is the quantile (1 - level) / 2 of
    them.
    """
    generator = np.random.default_rng(seed)
    y_SR = np.stack([_replicates(np.asarray(draws), num_test, replicates, generator) for draws in accuracies])
    lows = np.quantile(y_SR, (1 - level) / 2, axis=1)
    above = lows > level_high
    observed = next((size for place, size in enumerate(sizes) if above[place:].all()), None)
    if len(sizes) < 3:
        return Crossover(observed, None, None, "fewer than three sizes give no curve")
    curve = fit_curve(sizes, [float(np.mean(draws)) for draws in accuracies])
    if not curve.usable:
        return Crossover(observed, None, None, f"no extrapolation: {curve.reason}")
    meets = curve.reaches(level_value)
    estimate = meets if meets <= FURTHEST * sizes[-1] else None
    if observed is not None:
        return Crossover(observed, None, estimate, "")
    further = np.unique(np.geomspace(sizes[-1], FURTHEST * sizes[-1], 60).astype(int))[1:]
    curves_R = [fit_curve(sizes, y_SR[:, number].tolist()) for number in range(replicates)]
    bounds = np.quantile(np.stack([one.at(further) for one in curves_R]), (1 - level) / 2, axis=0)
    beyond = np.flatnonzero(bounds > level_high)
    reason = "" if len(beyond) else f"not within {FURTHEST} times the data"
    return Crossover(None, int(further[beyond[0]]) if len(beyond) else None, estimate, reason)


def _replicates(draws_D: np.ndarray, num_test: int, replicates: int, generator: np.random.Generator) -> np.ndarray:
    means_R = generator.choice(draws_D, size=(replicates, len(draws_D))).mean(1)
    return np.asarray(generator.binomial(num_test, means_R.clip(0, 1)) / num_test)
