"""Intervals and tests against closed forms, scipy, and worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metier.engines.stats.bootstrap import paired_difference, ratio
from metier.engines.stats.exact import binomial_interval, mcnemar_p
from metier.engines.stats.holm import holm


def test_the_interval_of_a_share_is_near_its_normal_approximation():
    found = ratio([1.0] * 300 + [0.0] * 700, [1.0] * 1000, seed=0)
    half = 1.959964 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.value == 0.3
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), abs=2e-3)


def test_the_bootstrap_agrees_with_scipys_on_a_ratio_of_sums():
    generator = np.random.default_rng(3)
    bits, sizes = generator.gamma(4, 20, 80), generator.integers(20, 200, 80).astype(float)
    reference = stats.bootstrap(
        (bits, sizes), lambda a, b, axis: a.sum(axis) / b.sum(axis), paired=True, vectorized=True, method="percentile",
        n_resamples=10_000, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    found = ratio(bits, sizes, seed=0)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=0.01)


def test_a_paired_difference_of_answers_has_mcnemars_width():
    # 100 items: 12 only the second got right, 4 only the first; the variance of the difference is (16 - 64 / 100) / 100^2
    first, second = [1] * 4 + [0] * 12 + [1] * 84, [0] * 4 + [1] * 12 + [1] * 84
    found = paired_difference((first, [1] * 100), (second, [1] * 100), seed=0)
    half = 1.959964 * np.sqrt(16 - 0.64) / 100
    assert found.value == pytest.approx(0.08)
    assert (found.low, found.high) == pytest.approx((0.08 - half, 0.08 + half), abs=0.006)
    assert found.p == pytest.approx(mcnemar_p(4, 12), abs=0.05)


def test_models_that_are_equal_are_told_apart_as_often_as_the_level_says():
    generator = np.random.default_rng(0)
    worlds, wrong = 400, 0
    for world in range(worlds):
        shared = generator.random(500) < 0.6
        first, second = (np.where(shared, generator.random(500) < 2, generator.random(500) < 0.5) for _ in range(2))
        found = paired_difference((first, np.ones(500)), (second, np.ones(500)), seed=world, replicates=1000)
        wrong += found.low > 0 or found.high < 0
    assert stats.binomtest(int(wrong), worlds, 0.05).pvalue > 0.001


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.integers(0, 3))
def test_swapping_the_models_turns_the_sign_and_the_order_of_items_does_not_matter_to_the_value(pairs, seed):
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    ones = [1] * len(pairs)
    there = paired_difference((first, ones), (second, ones), seed=seed, replicates=200)
    back = paired_difference((second, ones), (first, ones), seed=seed, replicates=200)
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == back.p
    assert there.low <= there.high


def test_equal_answers_give_a_point_and_a_p_of_one():
    found = paired_difference(([1, 0, 1], [1, 1, 1]), ([1, 0, 1], [1, 1, 1]), seed=0)
    assert found == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (([], []), ([], []), "no items"),
        (([1], [1]), ([1, 0], [1, 1]), "do not pair"),
        (([1], [0]), ([1], [1]), "positive"),
        (([float("nan")], [1]), ([1], [1]), "finite"),
    ],
)
def test_numbers_that_have_no_difference_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(first, second, seed=0)


def test_clopper_pearson_as_tabled():
    # 0 of 10: the upper limit is 1 - 0.025^(1/10)
    assert binomial_interval(0, 10) == pytest.approx((0.0, 0.0, 1 - 0.025**0.1))
    assert binomial_interval(10, 10).low == pytest.approx(0.025**0.1)
    with pytest.raises(ValueError, match="0 successes of 0 trials"):
        binomial_interval(0, 0)


def test_mcnemar_is_a_fair_coin_on_the_disagreements():
    assert mcnemar_p(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    assert mcnemar_p(0, 0) == 1.0


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
