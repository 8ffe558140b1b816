"""Means over tasks: value by hand, interval against the normal one, whose errors are known."""

import numpy as np
import pytest

from metier.engines.stats.groups import mean_of_groups


def test_value_is_the_mean_of_means_and_the_interval_that_of_its_standard_error():
    generator = np.random.default_rng(1)
    groups = [generator.integers(-1, 2, size=(size, 1)).astype(float) for size in (200, 400)]
    (found,) = mean_of_groups(groups, draw_groups=False, seed=0)
    assert found.value == pytest.approx((groups[0].mean() + groups[1].mean()) / 2)
    error = np.sqrt(sum(group.var() / len(group) for group in groups)) / 2
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_drawing_tasks_adds_their_spread():
    means = np.arange(10.0)
    groups = [np.full((5, 1), mean) for mean in means]
    (fixed,) = mean_of_groups(groups, draw_groups=False, seed=0)
    (drawn,) = mean_of_groups(groups, draw_groups=True, seed=0)
    assert fixed == (4.5, 4.5, 4.5)
    assert (drawn.high - drawn.low) / 2 == pytest.approx(1.96 * means.std() / np.sqrt(10), rel=0.05)


def test_numbers_of_a_row_are_drawn_together():
    first = np.random.default_rng(2).normal(size=50)
    both = np.stack([first, first + 1, np.ones(50)], axis=1)
    found = mean_of_groups([both], draw_groups=False, seed=0, replicates=100)
    assert found[2] == (1.0, 1.0, 1.0)
    assert np.array(found[1]) - np.array(found[0]) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("groups", [[], [np.zeros((0, 2))], [np.zeros((2, 2)), np.zeros((2, 3))], [np.zeros(3)]])
def test_what_has_no_mean_is_refused(groups):
    with pytest.raises(ValueError, match="groups of shapes"):
        mean_of_groups(groups, draw_groups=False, seed=0)
