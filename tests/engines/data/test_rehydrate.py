"""Repeats of deduplicated documents: the published tables, the formula by hand, and no repeats without evidence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.rehydrate import evident_rates, repeat_table, repeats_of, table_from_counts

PUBLISHED = Path(__file__).parents[4] / "shared" / "data" / "curate" / "rehydration"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published tables of FineWeb2 are not beside the checkout")
def test_the_published_tables_of_seven_languages_come_out_exactly():
    published = json.loads((PUBLISHED / "published_weights.json").read_text())
    assert sorted(map(int, published)) == list(range(3, 11))
    for most, tables in published.items():
        assert len(tables) == 7
        for language, expected in tables.items():
            found = json.loads((PUBLISHED / f"{language}.json").read_text())
            sizes = [*found["cluster_sizes"], found["tail_threshold"]]
            rates = [*found["cluster_removal_rates"], found["tail_removal_rate"]]
            table = repeat_table(sizes, rates, found["global_removal_rate"], most=int(most))
            assert {str(size): repeats for size, repeats in table.items()} == expected, (language, most)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published tables of FineWeb2 are not beside the checkout")
def test_counts_of_a_large_language_give_the_published_repeats():
    found = json.loads((PUBLISHED / "fra_Latn.json").read_text())
    kept = dict(zip(found["cluster_sizes"], found["cluster_post_filtering_doc_counts"]))
    rates = dict(zip(found["cluster_sizes"], found["cluster_removal_rates"]))
    kept[found["tail_threshold"]], rates[found["tail_threshold"]] = (
        found["tail_post_filtering_doc_counts"],
        found["tail_removal_rate"],
    )
    removed = {size: round(count / (1 - rates[size] / 100)) - count for size, count in kept.items()}
    published = json.loads((PUBLISHED / "published_weights.json").read_text())["10"]["fra_Latn"]
    expected = {int(size): repeats for size, repeats in published.items()}
    table = table_from_counts(removed, kept)
    differences = [repeats_of(size, table) - repeats_of(size, expected) for size in range(1, 219)]
    assert differences[:159] == [0] * 159
    assert max(map(abs, differences)) == 1  # rates of large sizes rest on few documents, and are drawn to the overall one


def test_the_tail_begins_where_999_of_1000_clusters_are_reached():
    pooled = table_from_counts({1: 60_000, 2: 10_000, 4: 20}, {1: 19_000, 2: 10_890, 3: 90})  # 110 of 100,000 in the tail
    assert [repeats_of(size, pooled) for size in (1, 3, 4)] == [1, 10, 10]
    listed = table_from_counts({1: 60_000, 2: 10_000, 4: 110}, {1: 19_000, 2: 10_800, 3: 90})
    assert repeats_of(4, listed) == 1


def test_the_formula_by_hand():
    # g = 0.5, lowest 0.1: raw repeats 1, 1 + 9 * 0.2 / 0.4, 10, 1 + 9 * 0.1 / 0.4, 1, 1 -> the middle two are means of five.
    raw = [1, 5.5, 10, 3.25, 1, 1]
    smoothed = [1, 5.5, sum(raw[:5]) / 5, sum(raw[1:]) / 5, 1, 1]
    expected = [round(value) for value in smoothed]  # Python rounds half to even, too
    table = repeat_table([1, 2, 3, 4, 5, 6], [0.6, 0.3, 0.1, 0.4, 0.5, 0.9], 0.5)
    assert [repeats_of(size, table) for size in range(1, 7)] == expected == [1, 6, 4, 4, 1, 1]
    assert table == {1: 1, 2: 6, 3: 4, 5: 1}
    assert repeats_of(1000, table) == 1


def test_few_sizes_shrink_the_window():
    assert repeat_table([1, 2], [0.9, 0.1], 0.5) == {1: 1, 2: 10}
    assert repeat_table([1], [0.5], 0.5) == {1: 1}
    assert repeat_table([1, 2, 3, 4], [0.9, 0.1, 0.1, 0.9], 0.5, most=10) == {
        1: 1,
        2: 7,
        4: 1,
    }  # a window of three: (1 + 10 + 10) / 3


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(1, 10),
)
def test_repeats_stay_between_one_and_the_cap(rates, overall, most):
    table = repeat_table(list(range(1, len(rates) + 1)), rates, overall, most=most)
    assert set(table.values()) <= set(range(1, most + 1))
    assert min(table) == 1
    if most == 1 or min(rates) >= overall:
        assert table == {1: 1}


def test_rates_of_a_few_documents_are_no_evidence():
    removed, total = np.array([7000, 0, 0]), np.array([10000, 2, 3])
    assert evident_rates(removed, total).tolist() == pytest.approx([removed.sum() / total.sum()] * 3)
    assert table_from_counts({1: 7000, 2: 0}, {1: 3000, 2: 2}) == {1: 1}
    assert table_from_counts({1: 7000, 2: 500}, {1: 3000, 2: 1500}) == {1: 1, 2: 10}


def test_large_counts_give_the_plain_rates():
    removed, total = np.array([700_000, 300_000, 200_000]), np.array([1_000_000] * 3)
    overall = 0.4
    rates = evident_rates(removed, total)
    assert rates[0] == pytest.approx(overall)
    assert rates[1:] == pytest.approx([0.3, 0.2], abs=1e-5)


def test_nothing_or_everything_removed_repeats_nothing():
    assert table_from_counts({}, {}) == {1: 1}
    assert table_from_counts({}, {1: 5, 2: 7}) == {1: 1}
    assert table_from_counts({1: 5, 2: 7}, {}) == {1: 1}


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="most=0 would drop"):
        repeat_table([1], [0.1], 0.5, most=0)
    with pytest.raises(ValueError, match="window=4 has no middle"):
        repeat_table([1], [0.1], 0.5, window=4)
    with pytest.raises(ValueError, match="2 sizes and 1 rates"):
        repeat_table([1, 2], [0.1], 0.5)
    with pytest.raises(ValueError, match="must rise"):
        repeat_table([2, 1], [0.1, 0.2], 0.5)
