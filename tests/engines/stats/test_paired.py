"""Intervals of paired differences where few items decide: exact tests, tabled values and calibration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metier.engines.stats.bootstrap import paired_difference
from metier.engines.stats.exact import mcnemar_p
from metier.engines.stats.paired import compare_pairs


def answers(size, gained, lost, **settings):
    first = [0] * gained + [1] * lost + [1] * (size - gained - lost)
    second = [1] * gained + [0] * lost + [1] * (size - gained - lost)
    return compare_pairs((first, [1] * size), (second, [1] * size), seed=0, **settings)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 200))
def test_right_answers_differ_exactly_where_mcnemars_test_says_so(gained, lost, same):
    if gained + lost == 0:
        return
    found = answers(gained + lost + same, gained, lost, replicates=200)
    assert found.p == pytest.approx(mcnemar_p(gained, lost))
    # The bootstrap's own interval may only add to the exact one.
    assert not (found.low > 0 or found.high < 0) or found.p < 0.05
    assert found.low <= found.value <= found.high


def test_the_exact_interval_by_hand():
    # 4 of 500, all gained: the share of gains is at least 0.025^(1/4), so the difference at least 4 * (2 * share - 1) / 500
    found = answers(500, 4, 0)
    assert found.low == pytest.approx(4 * (2 * 0.025**0.25 - 1) / 500)
    assert found.low < 0 < found.high
    assert found.p == 0.125
    assert answers(500, 6, 0).low == pytest.approx(6 * (2 * 0.025 ** (1 / 6) - 1) / 500)
    assert answers(500, 6, 0).p == pytest.approx(2 / 64)


def test_one_question_proves_nothing():
    assert answers(1, 1, 0) == (1.0, pytest.approx(-0.95), 1.0, 1.0)
    assert answers(3, 0, 0) == (0.0, 0.0, 0.0, 1.0)


def test_many_disagreements_leave_the_bootstrap_nearly_as_it_is():
    first, second = [1] * 40 + [0] * 120 + [1] * 840, [0] * 40 + [1] * 120 + [1] * 840
    plain = paired_difference((first, [1] * 1000), (second, [1] * 1000), seed=0)
    assert answers(1000, 120, 40)[1:3] == pytest.approx(plain[1:3], abs=2.5e-3)


def bits(differences, sizes, **settings):
    sizes = np.asarray(sizes, dtype=float)
    first = 1.5 * sizes
    return compare_pairs((first, sizes), (first + np.asarray(differences) * sizes, sizes), seed=0, **settings)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_fewer_than_six_texts_prove_nothing(size):
    found = bits(-0.1 - 0.01 * np.arange(size), [100] * size)
    assert found.low < 0 <= found.high
    assert found.p >= 2.0 ** (1 - size)


def test_six_texts_that_all_improve_are_better_and_equal_texts_are_a_tie():
    found = bits(-0.1 - 0.01 * np.arange(6), [100] * 6)
    assert found.high < 0
    assert found.p == pytest.approx(2**-5)
    assert bits([0.0] * 4, [100] * 4) == (0.0, 0.0, 0.0, 1.0)


def test_the_interval_of_few_texts_is_as_wide_as_students():
    differences = np.random.default_rng(0).normal(0, 0.1, 12)
    found = bits(differences, [100] * 12, replicates=100_000)
    student = stats.t.interval(0.95, 11, differences.mean(), differences.std(ddof=1) / np.sqrt(12))
    assert found.high - found.low == pytest.approx(student[1] - student[0], rel=0.05)


@pytest.mark.parametrize("size", [8, 12, 20])
def test_equal_models_are_told_apart_by_few_texts_about_as_often_as_the_level_says(size):
    generator = np.random.default_rng(size)
    worlds = 600
    found = [bits(generator.normal(0, 0.05, size), generator.integers(50, 150, size), replicates=1000) for _ in range(worlds)]
    assert 0.02 <= sum(one.low > 0 or one.high < 0 for one in found) / worlds <= 0.09


def test_numbers_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="do not pair"):
        compare_pairs(([1], [1]), ([1, 0], [1, 1]), seed=0)
    with pytest.raises(ValueError, match="no items"):
        compare_pairs(([], []), ([], []), seed=0)
