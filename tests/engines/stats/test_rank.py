"""Kendall's tau-b against counting pairs by hand, its p-value against all orders."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metier.engines.stats.rank import kendall, kendall_interval


def by_pairs(x, y):
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    concordant = sum(a * b > 0 for a, b in signs)
    discordant = sum(a * b < 0 for a, b in signs)
    only_x, only_y = sum(a == 0 != b for a, b in signs), sum(b == 0 != a for a, b in signs)
    below = math.sqrt((concordant + discordant + only_x) * (concordant + discordant + only_y))
    return (concordant - discordant) / below if below else math.nan


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_tau_is_the_count_of_pairs_ties_included(points):
    x, y = zip(*points, strict=True)
    assert kendall(x, y).tau == pytest.approx(by_pairs(x, y), nan_ok=True)


def test_p_counts_all_orders_where_there_are_ties():
    x, y = [1, 2, 2, 3, 4, 5], [1, 1, 3, 2, 4, 4]
    found = abs(by_pairs(x, y))
    orders = [abs(by_pairs(x, order)) for order in itertools.permutations(y)]
    assert kendall(x, y).p == pytest.approx(sum(order >= found - 1e-12 for order in orders) / 720)


def test_p_is_scipys_exact_one_without_ties_and_its_approximation_for_many():
    generator = np.random.default_rng(0)
    for size, method in ((12, "exact"), (60, "asymptotic")):
        x, y = generator.normal(size=size), generator.normal(size=size)
        assert kendall(x, y).p == pytest.approx(stats.kendalltau(x, y, method=method).pvalue)


def test_five_in_order_come_by_chance_twice_in_120():
    assert kendall([1, 2, 3, 4, 5], [2, 4, 6, 8, 9]) == pytest.approx((1.0, 2 / 120))


def test_ties_all_over_rank_nothing():
    found = kendall([1, 2, 3, 4], [7, 7, 7, 7])
    assert math.isnan(found.tau) and math.isnan(found.p)
    with pytest.raises(ValueError, match="tied on one side"):
        kendall_interval([1, 2, 3, 4], [7, 7, 7, 7], seed=0, replicates=20)


def test_the_interval_is_a_point_for_perfect_order_and_covers_what_is_true():
    perfect = kendall_interval(range(8), range(8), seed=0, replicates=500)
    assert perfect == pytest.approx((1.0, 1.0, 1.0))
    generator = np.random.default_rng(0)
    truth = 2 / math.pi * math.asin(0.6)  # tau of a normal pair of correlation 0.6
    held = 0
    for seed in range(100):
        x = generator.normal(size=30)
        found = kendall_interval(x, 0.6 * x + 0.8 * generator.normal(size=30), seed=seed, replicates=300)
        held += found.low <= truth <= found.high
    assert held >= 85


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([1, 2], [1]), ([1, math.nan], [1, 2])])
def test_what_cannot_be_ranked_is_refused(x, y):
    with pytest.raises(ValueError):
        kendall(x, y)
