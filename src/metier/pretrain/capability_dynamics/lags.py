"""Whether progress in one domain comes before progress in another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from metier.engines.stats.holm import holm
from metier.pretrain.capability_dynamics.curves import Curve, by_series, common
from metier.pretrain.capability_dynamics.results import Lag

FEWEST_STEPS = 6  # pairs of steps that a correlation given a third needs

# S steps from checkpoint to checkpoint, less the lag; R permutations


def domain_lags(curves: Sequence[Curve], lags: int, replicates: int, seed: int) -> list[Lag]:
    """All ordered pairs of domains at lags of 1 to `lags` checkpoints, over all series with enough checkpoints.

    Steps, not levels: two curves that rise are correlated at every lag, whatever drives them. Given the follower's own step at the same
    checkpoint, because domains that rise and slow down together would each seem to lead the other; where noise hides their own steps a
    common pace still can, so that a lead is a question for an experiment, not a cause. Permutations put the leader's steps in any order
    within a series.
    """
    series = [_domain_steps(members) for members in by_series(curves).values()]
    domains = list(dict.fromkeys(domain for steps in series for domain in steps))
    generator = np.random.default_rng(seed)
    found: list[tuple[str, str, int, int, float, float]] = []
    for leader, follower in itertools.permutations(domains, 2):
        for lag in range(1, lags + 1):
            pairs = [
                (steps[leader], steps[follower])
                for steps in series
                if leader in steps and follower in steps and len(steps[leader]) - lag >= FEWEST_STEPS
            ]
            if pairs:
                r, p = _tested(pairs, lag, replicates, generator)
                found.append((leader, follower, lag, len(pairs), r, p))
    adjusted = holm([row[-1] for row in found])
    return [Lag(*row, p) for row, p in zip(found, adjusted, strict=True)]


def _domain_steps(members: Sequence[Curve]) -> dict[str, np.ndarray]:
    """Steps of each domain's mean, rescaled, at the checkpoints that all tasks of the series have."""
    aligned = common(members[0], *members[1:])
    domains = dict.fromkeys(curve.domain for curve in aligned)
    means = {name: np.mean([curve.rescaled for curve in aligned if curve.domain == name], axis=0) for name in domains}
    return {name: np.diff(mean) for name, mean in means.items()}


def _tested(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], lag: int, replicates: int, generator: np.random.Generator
) -> tuple[float, float]:
    """The mean over series of the partial correlation, and its two-sided p-value."""
    found, drawn_R = 0.0, np.zeros(replicates)
    for leading, following in pairs:
        own_S = following[:-lag]
        x_S, y_S = _given(own_S, leading[:-lag]), _given(own_S, following[lag:])
        found += float(x_S @ y_S)
        orders_RS = generator.permuted(np.tile(x_S, (replicates, 1)), axis=1)
        drawn_R += orders_RS @ y_S
    count = int((np.abs(drawn_R) >= abs(found) - 1e-12).sum())
    return found / len(pairs), (count + 1) / (replicates + 1)


def _given(third_S: np.ndarray, values_S: np.ndarray) -> np.ndarray:
    """What the third does not explain, of length 1; zeros where it explains all."""
    design_S2 = np.stack([np.ones_like(third_S), third_S], axis=1)
    rest_S = values_S - design_S2 @ np.linalg.lstsq(design_S2, values_S, rcond=None)[0]
    size = float(np.linalg.norm(rest_S))
    return np.asarray(rest_S / size) if size > 1e-12 else np.zeros_like(rest_S)
