"""From curves of log-probabilities to how much an encounter teaches, how fast it is lost, and how often a fact must recur."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metier.pretrain.factual_acquisition.results import Forgetting, Interval

# P probes, T evaluated steps, L lags, F facts, R replicates

MOST_LAGS = 60
FEWEST_LAGS = 6
REPLICATES = 2000
_MOST_REPETITIONS = 10_000


def local_maximum(steps: np.ndarray, values: np.ndarray, start: int, window: int) -> tuple[int, float]:
    """The step and height of the highest value at start < step <= start + window; the first of several."""
    inside = np.flatnonzero((steps > start) & (steps <= start + window))
    if not len(inside):
        raise ValueError(f"nothing was measured in the {window} steps after step {start}: evaluate more often")
    at = int(inside[np.argmax(values[inside])])
    return int(steps[at]), float(values[at])


def effectivity(steps: np.ndarray, values: np.ndarray, encounters: Sequence[int], window: int) -> np.ndarray:
    """(encounters,) nats per token: the local maximum after each encounter less the value before it.

    steps (T,) ascending; values (T,); an encounter at step t is the update from t to t + 1.
    """
    before = np.interp(encounters, steps, values)
    tops = np.array([local_maximum(steps, values, start, window)[1] for start in encounters])
    return np.asarray(tops - before)


def retainability(
    steps: np.ndarray, values: np.ndarray, encounters: Sequence[int], window: int, lags: np.ndarray
) -> np.ndarray | None:
    """(L,) share of the gain over the value before the first encounter that is left so many steps after the last local maximum.

    1 at lag 0. None where nothing was gained, so that no share can be said. Values between evaluated steps are interpolated.
    """
    top_step, top = local_maximum(steps, values, encounters[-1], window)
    before = float(np.interp(encounters[0], steps, values))
    if top <= before:
        return None
    return np.asarray((np.interp(top_step + lags, steps, values) - before) / (top - before))


def lags_until(last: int) -> np.ndarray:
    """Whole numbers from 1 to `last`, evenly on a logarithmic scale."""
    if last < 1:
        raise ValueError("no step is left after the last window: train longer")
    return np.unique(np.geomspace(1, last, MOST_LAGS).round().astype(int))


def inliers(values: np.ndarray, factor: float) -> np.ndarray:
    """Which values lie within `factor` interquartile ranges of the quartiles of their column. values (P, L) -> bool (P, L)."""
    low, high = np.quantile(values, [0.25, 0.75], axis=0)
    reach = factor * (high - low)
    return np.asarray((values >= low - reach) & (values <= high + reach))


def forgetting(
    lags: np.ndarray, retained_PL: np.ndarray, facts: Sequence[str], *, iqr: float, seed: int, replicates: int = REPLICATES
) -> Forgetting:
    """The line of forgetting over probes, each of a fact; facts are drawn with replacement, for probes of one fact go together."""
    if len(lags) < FEWEST_LAGS:
        raise ValueError(
            f"{len(lags)} lags make no curve of forgetting: train at least {2 * FEWEST_LAGS} steps after the last window"
        )
    kept_PL = inliers(retained_PL, iqr)
    names = list(dict.fromkeys(facts))
    member_FP = np.array([[fact == name for fact in facts] for name in names], dtype=float)
    sums_FL, counts_FL = member_FP @ np.where(kept_PL, retained_PL, 0.0), member_FP @ kept_PL
    mean_L = sums_FL.sum(0) / counts_FL.sum(0)
    decay, intercept, error, r_squared = line(lags, mean_L)
    drawn_RF = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    means_RL = (drawn_RF @ sums_FL) / np.maximum(drawn_RF @ counts_FL, 1e-12)
    x_L = np.log10(lags) - np.log10(lags).mean()
    decays_R = -(means_RL @ x_L) / (x_L @ x_L)
    intercepts_R = means_RL.mean(1) + decays_R * np.log10(lags).mean()
    errors = extrapolation_errors(lags, mean_L)
    return Forgetting(
        decay=interval(decay, decays_R, enough=len(names) >= 2),
        intercept=intercept,
        standard_error=error,
        r_squared=r_squared,
        lost_after=interval(
            lost_after(decay, intercept),
            [lost_after(*pair) or math.inf for pair in zip(decays_R, intercepts_R, strict=True)],
            enough=len(names) >= 2,
        ),
        errors=errors,
        best=min(errors, key=lambda name: errors[name]),
    )


def line(lags: np.ndarray, retained_L: np.ndarray) -> tuple[float, float, float, float]:
    """decay, intercept, standard error of the decay, and R squared of retained = intercept - decay * log10(lag)."""
    x, y = np.log10(lags), np.asarray(retained_L, dtype=float)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    intercept = float(y.mean() - slope * x.mean())
    residual = float(((y - intercept - slope * x) ** 2).sum())
    spread = float(((y - y.mean()) ** 2).sum())
    error = math.sqrt(residual / (len(x) - 2) / float(centred @ centred))
    return -slope, intercept, error, 1 - residual / spread if spread else 0.0


def lost_after(decay: float, intercept: float) -> float | None:
    """Steps at which the line is 0; None where it does not fall, or later than any number."""
    if decay <= 0 or intercept / decay > 300:
        return None
    return float(10 ** (intercept / decay))


def extrapolation_errors(lags: np.ndarray, retained_L: np.ndarray) -> dict[str, float]:
    """Root mean square error over the last third of the lags of each form, fitted to the first two thirds."""
    from scipy.optimize import least_squares

    forms = {
        "log_linear": lambda p, t: p[0] - p[1] * np.log10(t),
        "power": lambda p, t: p[0] * t ** -p[1],
        "exponential": lambda p, t: p[0] * np.exp(-t * p[1]),
    }
    split = 2 * len(lags) // 3
    known, later = lags[:split].astype(float), lags[split:].astype(float)
    found = {}
    for name, form in forms.items():
        start = [float(retained_L[0]), 1 / known[-1] if name == "exponential" else 0.1]
        bounds = ([-np.inf, -np.inf] if name == "log_linear" else [-np.inf, 0.0], [np.inf, np.inf])
        fitted = least_squares(lambda p, form=form: form(p, known) - retained_L[:split], start, bounds=bounds).x
        found[name] = float(np.sqrt(np.mean((form(fitted, later) - retained_L[split:]) ** 2)))
    return found


def interval(value: float | None, replicates: Sequence[float] | np.ndarray, *, enough: bool) -> Interval:
    """The middle 95% of the replicates; none of fewer than two facts. An end that is not finite is None: there is no bound."""
    if not enough:
        return Interval(value, None, None)
    low, high = np.quantile(np.asarray(replicates, dtype=float), [0.025, 0.975], method="nearest")
    return Interval(value, *(float(end) if math.isfinite(end) else None for end in (low, high)))


def mean_over_facts(values: Sequence[float], facts: Sequence[str], *, seed: int) -> Interval:
    """The mean of the probes' values, with an interval by drawing facts."""
    return interval(float(np.mean(values)), _drawn_means(values, facts, seed), enough=len(set(facts)) >= 2)


def difference_over_facts(
    values: Sequence[float], facts: Sequence[str], others: Sequence[float], other_facts: Sequence[str], *, seed: int
) -> Interval:
    """The mean of some probes less that of others about other facts, with an interval by drawing the facts of each."""
    drawn_R = _drawn_means(values, facts, seed) - _drawn_means(others, other_facts, seed + 1)
    enough = min(len(set(facts)), len(set(other_facts))) >= 2
    return interval(float(np.mean(values) - np.mean(others)), drawn_R, enough=enough)


def _drawn_means(values: Sequence[float], facts: Sequence[str], seed: int) -> np.ndarray:
    names = list(dict.fromkeys(facts))
    sums_F = np.array([sum(value for value, fact in zip(values, facts, strict=True) if fact == name) for name in names])
    counts_F = np.array([list(facts).count(name) for name in names])
    drawn_RF = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES)
    return np.asarray((drawn_RF @ sums_F) / (drawn_RF @ counts_F))


def repetitions(gain: float, retained: float, target: float) -> int | None:
    """Encounters until the gain first reaches `target`, where each adds `gain` and keeps a share `retained` of what was there before:
    gain * (1 - retained^n) / (1 - retained). None where it never does.
    """
    if gain <= 0:
        return None
    if target <= gain:
        return 1
    kept = min(max(retained, 0.0), 1.0)
    if kept == 0 or target * (1 - kept) >= gain:
        return None
    needed = target / gain if kept == 1 else math.log1p(-target * (1 - kept) / gain) / math.log(kept)
    whole = math.ceil(needed - 1e-9)
    return whole if whole <= _MOST_REPETITIONS else None
