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
    # 1000 items: 120 only the second got right, 40 only the first; the variance of the difference is (160 - 80^2 / 1000) / 1000^2
    first, second = [1] * 40 + [0] * 120 + [1] * 840, [0] * 40 + [1] * 120 + [1] * 840
    found = paired_difference((first, [1] * 1000), (second, [1] * 1000), seed=0)
    half = 1.959964 * np.sqrt(160 - 6.4) / 1000
    assert found.value == pytest.approx(0.08)
    assert (found.low, found.high) == pytest.approx((0.08 - half, 0.08 + half), abs=1.5e-3)
    assert found.p == pytest.approx(2 / 10_001)  # the least that 10,000 replicates can say


def test_the_p_value_is_near_the_exact_one():
    first, second = [1] * 14 + [0] * 26 + [1] * 460, [0] * 14 + [1] * 26 + [1] * 460
    found = paired_difference((first, [1] * 500), (second, [1] * 500), seed=0)
    assert found.p == pytest.approx(mcnemar_p(14, 26), abs=0.025)


def test_models_that_are_equal_are_told_apart_as_often_as_the_level_says():
    generator = np.random.default_rng(0)
    worlds, size, ones = 2000, 500, np.ones(500)
    wrong = 0
    for world in range(worlds):
        shared, same = generator.random(size) < 0.6, generator.random(size) < 0.5  # correlation 0.6
        first, second = (np.where(shared, same, generator.random(size) < 0.5) for _ in range(2))
        found = paired_difference((first, ones), (second, ones), seed=world, replicates=1000)
        wrong += found.low > 0 or found.high < 0
    assert wrong / worlds == pytest.approx(0.05, abs=0.01)


def test_intervals_of_bits_per_byte_cover_the_truth_as_often_as_the_level_says():
    generator = np.random.default_rng(1)
    covered = 0
    for world in range(500):
        sizes = generator.integers(50, 500, 60).astype(float)
        first = sizes * generator.gamma(25, 1.2 / 25, 60)
        second = first - sizes * generator.normal(0.1, 0.1, 60)  # 0.1 bits per byte fewer, whatever the size
        found = paired_difference((first, sizes), (second, sizes), seed=world, replicates=1000)
        covered += found.low <= -0.1 <= found.high
    assert 0.92 <= covered / 500 <= 0.97  # percentile intervals of 60 items are a little short of 95%


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.randoms(), st.integers(0, 3))
def test_the_order_of_the_items_changes_nothing(pairs, order, seed):
    def difference(drawn):
        first, second = ([pair[side] / 3 for pair in drawn] for side in (0, 1))
        return paired_difference((first, [0.7] * len(drawn)), (second, [0.7] * len(drawn)), seed=seed, replicates=200)

    there = difference(pairs)
    assert difference(order.sample(pairs, len(pairs))) == there
    assert there.low <= there.high
    assert difference([(b, a) for a, b in pairs]).value == pytest.approx(-there.value)


def test_memory_is_bounded_and_chunks_change_no_draw(monkeypatch):
    numbers = np.random.default_rng(0).random(50)
    whole = ratio(numbers, np.ones(50), seed=0, replicates=500)
    monkeypatch.setattr("metier.engines.stats.bootstrap.CHUNK_BYTES", 50 * 8 * 7)  # 7 replicates at a time
    assert ratio(numbers, np.ones(50), seed=0, replicates=500) == pytest.approx(whole, rel=1e-12)


def test_one_item_gives_a_point():
    assert paired_difference(([0], [1]), ([1], [1]), seed=0, replicates=999) == (1.0, 1.0, 1.0, 2 / 1000)
    assert ratio([3], [2], seed=0) == (1.5, 1.5, 1.5)


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
        (([1], [float("inf")]), ([1], [1]), "finite"),
    ],
)
def test_numbers_that_have_no_difference_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(first, second, seed=0)


@pytest.mark.parametrize(("setting", "value"), [("replicates", 0), ("level", 1.0)])
def test_settings_that_give_no_interval_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value}"):
        ratio([1, 0], [1, 1], seed=0, **{setting: value})


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
