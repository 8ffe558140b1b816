import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus
from metier.engines.data.sample import sample


def corpus(*groups):
    return Corpus.from_rows(
        [
            {"id": f"{name}{number}", "text": "x" * size, "source": name}
            for name, sizes in zip("abcdefgh", groups, strict=False)
            for number, size in enumerate(sizes)
        ]
    )


@given(
    groups=st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=5), min_size=1, max_size=6),
    budget=st.integers(1, 300),
    seed=st.integers(0, 3),
)
def test_keeps_whole_groups_within_the_budget_and_counts_the_rest(groups, budget, seed):
    whole = corpus(*groups)
    found = sample(whole, characters=budget, seed=seed)
    kept = list(found.rows())
    sizes = {name: sum(group) for name, group in zip("abcdef", groups, strict=False)}
    assert sum(len(row["text"]) for row in kept) <= budget
    if min(sizes.values()) <= budget:
        for name in {row["source"] for row in kept}:
            assert sum(len(row["text"]) for row in kept if row["source"] == name) == sizes[name]
        assert all(
            size > budget - sum(len(row["text"]) for row in kept)
            for name, size in sizes.items()
            if name not in {r["source"] for r in kept}
        )
    funnel = found.funnel()
    assert funnel.dropped.get("not sampled", 0) == funnel.total - funnel.kept


def test_a_group_larger_than_the_budget_is_cut_rather_than_giving_nothing():
    assert [row["id"] for row in sample(corpus([4, 4, 4]), characters=9).rows()] == ["a0", "a1"]


def test_seed_decides_and_documents_may_stand_for_themselves():
    whole = corpus([5, 5, 5, 5], [5, 5, 5, 5])
    assert len({tuple(row["id"] for row in sample(whole, characters=20, seed=seed).rows()) for seed in range(8)}) == 2
    assert len({tuple(row["id"] for row in sample(whole, characters=20, by=None, seed=seed).rows()) for seed in range(8)}) > 2


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="keeps nothing"):
        sample(corpus([1]), characters=0)
    with pytest.raises(ValueError, match="by='modul' is no column"):
        sample(corpus([1]), characters=5, by="modul")
