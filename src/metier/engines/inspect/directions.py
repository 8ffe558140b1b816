"""Directions of the residual stream: differences of means, how far to trust them, and what they decide."""
# N statements, D hidden size, R replicates

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

NEWTON_STEPS = 50


class Probe(NamedTuple):
    """A direction and the point on it above which a statement is called true: (D,) and a number, for centred states."""

    direction: np.ndarray
    threshold: float


def centred(states_ND: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """The states less the mean of their own group."""
    found_ND = np.array(states_ND, dtype=np.float64)
    names = np.asarray(groups)
    for name in dict.fromkeys(groups):
        found_ND[names == name] -= found_ND[names == name].mean(axis=0)
    return found_ND


def mean_difference(states_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Mean of the states with label 1 less that of those with label 0, (D,). Raises ValueError where one of them is missing."""
    if labels_N.all() or not labels_N.any():
        raise ValueError(f"all {len(labels_N)} examples have the same label: a direction needs both")
    return np.asarray(states_ND[labels_N].mean(axis=0) - states_ND[~labels_N].mean(axis=0))


def fit_probe(states_ND: np.ndarray, labels_N: np.ndarray) -> Probe:
    """The difference of means, with the threshold that a logistic regression on the projections gives."""
    direction_D = mean_difference(states_ND, labels_N)
    return Probe(direction_D, logistic_threshold(states_ND @ direction_D, labels_N))


def logistic_threshold(projections_N: np.ndarray, labels_N: np.ndarray) -> float:
    """Where a logistic regression on one number gives both labels the same probability; by Newton's method, in float64.

    The weight (not the bias) of the standardised number is penalised as in scikit-learn with C = 1, so that labels that a point
    separates have an answer too. Raises ValueError for numbers that are all alike.
    """
    mean, scale = projections_N.mean(), projections_N.std()
    if scale == 0:
        raise ValueError(f"{len(projections_N)} projections are all {mean:.3g}: nothing separates the labels")
    inputs_N2 = np.stack([(projections_N - mean) / scale, np.ones_like(projections_N)], axis=1)
    weights_2, ridge_2 = np.zeros(2), np.array([1.0, 0.0])
    for _ in range(NEWTON_STEPS):
        probability_N = 1 / (1 + np.exp(-inputs_N2 @ weights_2))
        gradient_2 = inputs_N2.T @ (probability_N - labels_N) + ridge_2 * weights_2
        curvature_22 = (inputs_N2 * (probability_N * (1 - probability_N))[:, None]).T @ inputs_N2 + np.diag(ridge_2)
        step_2 = np.linalg.solve(curvature_22, gradient_2)
        weights_2 -= step_2
        if np.abs(step_2).max() < 1e-12:
            break
    if weights_2[0] == 0:
        raise ValueError("the projections of both labels have the same mean: no threshold tells them apart")
    return float(mean - scale * weights_2[1] / weights_2[0])


def calls_right(probe: Probe, states_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Whether the probe's verdict on each statement is right, (N,)."""
    return np.asarray((states_ND @ probe.direction > probe.threshold) == labels_N)


def cosine(one_D: np.ndarray, other_D: np.ndarray) -> float:
    """The cosine of two vectors; nan where one is 0."""
    scale = float(np.linalg.norm(one_D) * np.linalg.norm(other_D))
    return float(one_D @ other_D) / scale if scale > 0 else float("nan")


def folds(groups: Sequence[str], seed: int) -> Iterator[np.ndarray]:
    """Masks (N,) of what is held out: each group in turn, or each random half where there is one group only."""
    names = list(dict.fromkeys(groups))
    if len(names) > 1:
        yield from (np.asarray(groups) == name for name in names)
    else:
        half_N = np.random.default_rng(seed).permutation(len(groups)) % 2 == 0
        yield from (half_N, ~half_N)


def bootstrap_weights(labels_N: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """How often each example is drawn, (R, N): with replacement, as many of each label as there are."""
    generator = np.random.default_rng(seed)
    counts_RN = np.zeros((replicates, len(labels_N)))
    for label in np.unique(labels_N):
        places = np.flatnonzero(labels_N == label)
        counts_RN[:, places] = generator.multinomial(len(places), np.full(len(places), 1 / len(places)), size=replicates)
    return counts_RN


def resampled_differences(states_ND: np.ndarray, labels_N: np.ndarray, counts_RN: np.ndarray) -> np.ndarray:
    """The difference of means of each replicate, (R, D)."""
    signs_N = np.where(labels_N, 1 / labels_N.sum(), -1 / (~labels_N).sum())
    return np.asarray((counts_RN * signs_N) @ states_ND)
