"""Whether a task's curve is more than noise, and from when on."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from metier.pretrain.capability_dynamics.curves import Curve, by_series
from metier.pretrain.capability_dynamics.results import Change, Interval, Signal, Word

FEWEST = 4  # checkpoints that a verdict needs
Z = 1.959963984540054


def signal_of(curve: Curve, times_noise: float, least_rho: float) -> Signal:
    """The verdict on one curve. A falling one is fitted by a constant, so that its gain is 0."""
    gain, noise, rho = _numbers(curve)
    since = _above_chance(curve)
    verdict: Word = "noise"
    if len(curve.tokens) < FEWEST:
        verdict = "too few"
    elif gain > times_noise * noise and rho > least_rho:
        verdict = "usable"
    elif since is not None:
        later = curve.of(curve.tokens >= since)
        if FEWEST <= len(later.tokens) < len(curve.tokens):
            late_gain, late_noise, late_rho = _numbers(later)
            verdict = "late" if late_gain > times_noise * late_noise and late_rho > least_rho else "noise"
    error = float(curve.rescaled_stderr[-1])
    return Signal(
        *(curve.model, curve.setup, curve.task, curve.domain, len(curve.tokens)),
        gain=gain,
        gain_in_stderr=gain / error if error > 0 else 0.0,
        noise=noise,
        rho=rho,
        verdict=verdict,
        since=since,
        falls=rho < -least_rho,
    )


def panel(signals: Sequence[Signal]) -> tuple[list[str], list[str]]:
    """Tasks to keep and to drop: by the verdict of most series that have one."""
    told: dict[str, Counter[bool]] = defaultdict(Counter)
    for signal in signals:
        if signal.verdict != "too few":
            told[signal.task][signal.verdict == "noise"] += 1
    keep = [task for task, counts in told.items() if counts[False] >= counts[True]]
    return keep, [task for task in told if task not in keep]


def changes(curves: Sequence[Curve]) -> list[Change]:
    """Last less first checkpoint by series and domain."""
    found = []
    for (model, setup), members in by_series(curves).items():
        for domain in dict.fromkeys(curve.domain for curve in members):
            inside = [curve for curve in members if curve.domain == domain and len(curve.tokens) > 1]
            if not inside:
                continue
            mean = float(np.mean([curve.rescaled[-1] - curve.rescaled[0] for curve in inside]))
            squares = [curve.rescaled_stderr[-1] ** 2 + curve.rescaled_stderr[0] ** 2 for curve in inside]
            half = Z * float(np.sqrt(sum(squares))) / len(inside)
            found.append(Change(model, setup, domain, len(inside), Interval(mean, mean - half, mean + half)))
    return found


def _numbers(curve: Curve) -> tuple[float, float, float]:
    """Gain and noise by the isotonic fit, and Spearman's rho, 0 for a constant curve."""
    y_C = curve.rescaled
    fit_C = optimize.isotonic_regression(y_C).x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of constant input, which is told by 0
        rho = float(stats.spearmanr(curve.log_tokens, y_C).statistic) if len(y_C) > 1 else 0.0
    return float(fit_C[-1] - fit_C[0]), float((y_C - fit_C).std()), 0.0 if np.isnan(rho) else rho


def _above_chance(curve: Curve) -> float | None:
    below = np.flatnonzero(curve.rescaled - Z * curve.rescaled_stderr <= 0)
    first = int(below[-1]) + 1 if len(below) else 0
    return float(curve.tokens[first]) if first < len(curve.tokens) else None
