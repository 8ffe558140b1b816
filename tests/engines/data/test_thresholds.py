"""The five rules: closed forms, and what the tail rule loses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.page_statistics import STATISTICS, Statistic
from metier.engines.data.thresholds import RULES, derive, derive_all, score_threshold, share_lost

BELOW, ABOVE = Statistic("quality", "below", 0.3), Statistic("quality", "above", 0.3)


@given(st.floats(-5, 5), st.floats(0.1, 5), st.integers(0, 10**6))
def test_rules_follow_a_change_of_scale(shift, scale, seed):
    english = np.random.default_rng(seed).normal(0.2, 0.1, 200)
    moved = derive(BELOW, "mean_std", shift + scale * english, english).value
    assert moved == pytest.approx(shift + scale * 0.3)
    ranked = np.sort(english)
    last = ranked[np.searchsorted(ranked, 0.3, side="right") - 1]  # the largest English value that is good
    assert derive(BELOW, "quantile", shift + scale * english, english).value == pytest.approx(shift + scale * last)
    assert derive(BELOW, "median_ratio", scale * english, english).value == pytest.approx(scale * 0.3)
    assert derive(BELOW, "english", shift + scale * english).value == 0.3


def test_the_quantile_of_a_share_of_counts_is_the_value_itself():
    for count in range(1, 300):
        values = np.linspace(0, 0.3, count)  # all up to the threshold, and some beyond it
        english = np.append(values, np.linspace(0.31, 1, 300 - count))
        assert derive(BELOW, "quantile", english, english).value == values[-1]


def test_the_tail_rule_by_hand():
    values = list(range(1, 101))
    assert derive(BELOW, "ten_tail", values).value == 90  # 91 to 100 are lost
    assert derive(ABOVE, "ten_tail", values).value == 11  # 1 to 10 are lost
    assert derive(BELOW, "ten_tail", [7.0]).value == 7
    assert derive(BELOW, "ten_tail", values, tail=0.02).value == 98
    assert derive(BELOW, "ten_tail", [0.0] * 95 + [1.0] * 5).value == 0  # ties at the threshold are good


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=300))
def test_the_tail_rule_loses_at_most_a_tenth_of_the_reference(values):
    limit = derive(BELOW, "ten_tail", values)
    assert sum(value > limit.value for value in values) <= 0.1 * len(values)
    assert limit.low <= limit.value <= limit.high
    low = derive(ABOVE, "ten_tail", values)
    assert sum(value < low.value for value in values) <= 0.1 * len(values)


def test_the_interval_holds_the_true_quantile_19_times_in_20():
    generator = np.random.default_rng(0)
    held = [
        limit.low <= 0.9 <= limit.high for limit in (derive(BELOW, "ten_tail", generator.uniform(size=500)) for _ in range(400))
    ]
    assert 0.95 <= np.mean(held) <= 1


def test_language_scores_of_the_paper_are_clipped():
    assert score_threshold([0.9] * 10) == 0.9
    assert score_threshold([0.95, 0.99, 1.0, 1.0]) == 0.9
    assert score_threshold([0.1, 0.2, 0.3]) == 0.3
    scores = np.linspace(0.6, 1, 101)
    assert score_threshold(scores) == pytest.approx(0.8 - scores.std())


def test_all_statistics_by_the_rule_of_their_group():
    values = {name: [0.1, 0.2, 0.4] for name in STATISTICS} | {"short words": [4.0] * 3, "words with a letter": [0.9] * 3}
    found = derive_all({"quality": "english", "repetition": "ten_tail"}, values)
    assert found["punctuated lines"].value == 0.12
    assert found["top 2-gram"].value == 0.4
    assert list(found) == list(STATISTICS)
    assert share_lost(values, found) == 2 / 3  # 0.1 is too little punctuation, 0.4 are too many newlines


def test_what_cannot_be_derived_is_named():
    with pytest.raises(ValueError, match="'mean_std' compares with English text and there is none"):
        derive(BELOW, "mean_std", [1.0])
    with pytest.raises(ValueError, match=r"all values of the English text are 0\.5: 'mean_std' is undefined"):
        derive(BELOW, "mean_std", [1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="median of the English text is 0"):
        derive(BELOW, "median_ratio", [1.0], [0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="no finite number: nan"):
        derive(BELOW, "ten_tail", [1.0, float("nan")])
    with pytest.raises(ValueError, match="repeated lines: the rule 'quantile'"):
        derive_all({"quality": "english", "repetition": "quantile"}, {name: [1.0] for name in STATISTICS})
    for rule in RULES:
        with pytest.raises(ValueError, match="holds no document"):
            derive(BELOW, rule, [])
