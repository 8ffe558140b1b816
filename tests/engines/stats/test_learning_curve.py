"""Curves that are known are found again, and nothing is read from those that bend the wrong way."""

import math

import numpy as np
import pytest

from metier.engines.stats.learning_curve import find_crossover, fit_curve

SIZES = [8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize(("a", "b", "c"), [(0.9, 0.8, 0.5), (0.8, 1.5, 1.2), (0.99, 0.6, 0.25)])
def test_a_power_law_is_found_again(a, b, c):
    curve = fit_curve(SIZES, [a - b * n**-c for n in SIZES])
    assert (curve.a, curve.b, curve.c) == pytest.approx((a, b, c), rel=1e-3)
    assert curve.usable
    level = a - b * 100**-c
    assert curve.reaches(level) == pytest.approx(100, rel=0.01)
    assert curve.at(100) == pytest.approx(level, abs=1e-4)
    assert math.isinf(curve.reaches(1.0))


def test_curves_that_fall_or_lie_at_a_bound_are_not_read_further():
    assert fit_curve(SIZES, [0.5, 0.6, 0.7, 0.6, 0.7, 0.8]).reason == "accuracy falls with more labels"
    # a straight line in log n is the limit of exponent 0; a step that is steeper than 1 / n^2 that of a large one
    for accuracies in ([0.5 + 0.01 * math.log2(n / 8) for n in SIZES], [0.775, *[0.8] * 5]):
        bent = fit_curve(SIZES, accuracies)
        assert not bent.usable and "end of its range" in bent.reason
    with pytest.raises(ValueError, match="2 sizes"):
        fit_curve([8, 16], [0.5, 0.6])


def crossing(level, *, spread=0.0, sizes=SIZES, num_test=1_000_000):
    draws = [[0.9 - 0.8 * n**-0.5 + spread * step for step in (-2, -1, 0, 1, 2)] for n in sizes]
    return find_crossover(sizes, draws, num_test, level, level_value=level, seed=0)


def test_the_crossover_within_the_data_is_the_first_size_above():
    # 0.9 - 0.8 / sqrt(n) is 0.7 at n = 16 and 0.8 at n = 64
    found = crossing(0.79)
    assert (found.observed, found.predicted) == (64, None)
    assert found.estimate == pytest.approx((0.8 / 0.11) ** 2, rel=0.02)


def test_beyond_the_data_it_is_predicted_up_to_eight_times():
    found = crossing(0.86)
    assert found.observed is None
    assert found.predicted == pytest.approx((0.8 / 0.04) ** 2, rel=0.1)  # 400 labels, with 256 at hand
    far = crossing(0.89)  # 6,400
    assert (far.observed, far.predicted, far.estimate) == (None, None, None)
    assert far.reason == "not within 8 times the data"


def test_noise_moves_a_sure_crossover_later_and_two_sizes_predict_nothing():
    assert crossing(0.79, num_test=200).observed > 64 or crossing(0.79, num_test=200).observed is None
    assert crossing(0.79, spread=0.02).observed >= 64
    found = crossing(0.86, sizes=SIZES[:2])
    assert (found.observed, found.predicted) == (None, None)
    assert np.isfinite(crossing(0.79).estimate)
