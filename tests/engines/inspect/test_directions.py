"""Directions against numpy, scikit-learn and planted ones."""

import numpy as np
import pytest

from metier.engines.inspect.directions import (
    Probe,
    bootstrap_weights,
    calls_right,
    centred,
    cosine,
    fit_probe,
    folds,
    logistic_threshold,
    mean_difference,
    resampled_differences,
)


def planted(num=200, size=64, distance=3.0, seed=0):
    """Noise of deviation 1 in every dimension, plus a direction of length `distance` times the label; and that direction."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=size)
    direction *= distance / np.linalg.norm(direction)
    labels = np.arange(num) % 2 == 0
    return generator.normal(size=(num, size)) + labels[:, None] * direction, labels, direction


def test_a_planted_direction_is_found():
    states, labels, direction = planted()
    # Noise of the estimate has length sqrt(64 * 4 / 200) = 1.13, so the cosine is about 3 / sqrt(9 + 1.28) = 0.936.
    assert cosine(mean_difference(states, labels), direction) == pytest.approx(0.936, abs=0.03)
    many, labels, direction = planted(num=5000)
    assert cosine(mean_difference(many, labels), direction) > 0.99


def test_groups_are_centred_each_by_itself():
    found = centred(np.array([[1.0, 2], [3, 6], [10, 0]]), ["a", "a", "b"])
    assert found.tolist() == [[-1, -2], [1, 2], [0, 0]]


def test_the_threshold_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = np.random.default_rng(3)
    for shift in (0.5, 2, 50):
        labels = generator.random(80) < 0.3
        numbers = generator.normal(size=80) * 4 + labels * shift + 7
        scaled = (numbers - numbers.mean()) / numbers.std()
        model = linear_model.LogisticRegression(C=1.0, tol=1e-10).fit(scaled[:, None], labels)
        expected = numbers.mean() - numbers.std() * model.intercept_[0] / model.coef_[0, 0]
        assert logistic_threshold(numbers, labels) == pytest.approx(expected, rel=1e-4)


def test_the_threshold_of_mirrored_numbers_is_their_middle():
    assert logistic_threshold(np.array([-3.0, -1, 1, 3]) + 5, np.array([False, False, True, True])) == pytest.approx(5)
    with pytest.raises(ValueError, match="all 2"):
        logistic_threshold(np.array([2.0, 2.0]), np.array([False, True]))
    with pytest.raises(ValueError, match="same mean"):
        logistic_threshold(np.array([1.0, 2, 1, 2]), np.array([False, False, True, True]))


def test_a_probe_calls_a_true_statement_true():
    states, labels, _ = planted(num=400, distance=6)
    probe = fit_probe(states[:200], labels[:200])
    assert calls_right(probe, states[200:], labels[200:]).mean() > 0.97
    assert calls_right(
        Probe(np.array([1.0]), 0.0), np.array([[1.0], [1.0], [-1.0]]), np.array([True, False, False])
    ).tolist() == [
        True,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="needs both"):
        fit_probe(states, np.ones(400, dtype=bool))


def test_each_group_is_held_out_once_and_one_group_in_halves():
    assert [fold.tolist() for fold in folds(["a", "b", "a"], 0)] == [[True, False, True], [False, True, False]]
    first, second = folds(["a"] * 5, 0)
    assert (first ^ second).all() and sorted((first.sum(), second.sum())) == [2, 3]


def test_replicates_keep_the_labels_and_give_the_difference_of_the_drawn():
    states, labels, _ = planted(num=20, size=3)
    counts = bootstrap_weights(labels, 5, seed=1)
    assert counts[:, labels].sum(axis=1).tolist() == counts[:, ~labels].sum(axis=1).tolist() == [10] * 5
    drawn = [np.repeat(np.arange(20), row.astype(int)) for row in counts]
    expected = [mean_difference(states[places], labels[places]) for places in drawn]
    assert np.allclose(resampled_differences(states, labels, counts), expected)
    assert cosine(np.zeros(2), np.ones(2)) != cosine(np.zeros(2), np.ones(2))  # nan
