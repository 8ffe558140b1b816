"""data.split: whole groups, the wanted share, no twins, and every row on one side."""

import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus, Funnel
from metier.engines.data.split import split

WORDS = [f"w{number}" for number in range(5000)]


def corpus(groups, length=100, seed=0):
    """`groups`: name -> number of documents, of words drawn at random."""
    generator = random.Random(seed)
    return Corpus.from_rows(
        [
            {"id": f"{name}/{number}", "text": " ".join(generator.choices(WORDS, k=length)), "source": name}
            for name, count in groups.items()
            for number in range(count)
        ]
    )


def ids(table):
    return [row["id"] for row in table.rows()]


def characters(table):
    return sum(len(row["text"]) for row in table.rows())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("by", ["source", None])
def test_sides_are_whole_in_order_and_of_the_wanted_size(share, by):
    whole = corpus({f"m{number}": 1 + number % 7 for number in range(60)})
    train, held_out = split(whole, held_out=share, by=by)
    assert sorted(ids(train) + ids(held_out)) == sorted(ids(whole))
    order = {name: index for index, name in enumerate(ids(whole))}
    assert all([order[name] for name in ids(side)] == sorted(order[name] for name in ids(side)) for side in (train, held_out))
    if by is not None:
        assert not {row["source"] for row in train.rows()} & {row["source"] for row in held_out.rows()}
    assert characters(held_out) / characters(whole) == pytest.approx(share, abs=0.02)


def test_the_seed_decides():
    groups = {f"m{number}": 5 for number in range(40)}
    held = [ids(split(corpus(groups), seed=seed).held_out) for seed in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_a_twin_in_training_is_marked_and_counted():
    body = " ".join(WORDS[:80])
    rows = [{"id": f"a{n}", "text": " ".join(random.Random(n).choices(WORDS, k=90)), "source": "a"} for n in range(9)]
    rows += [{"id": f"b{n}", "text": " ".join(random.Random(50 + n).choices(WORDS, k=90)), "source": "b"} for n in range(3)]
    for source in ("a", "b"):  # the same body under another title; a part of a longer text; nearly the same
        rows.append({"id": f"{source}-title", "text": f"{source}.get()\n\n{body}", "source": source})
        rows.append(
            {"id": f"{source}-part", "text": " ".join(WORDS[100:200] if source == "a" else WORDS[100:155]), "source": source}
        )
        rows.append({"id": f"{source}-near", "text": " ".join([*WORDS[300:390], source]), "source": source})
    train, held_out = split(Corpus.from_rows(rows), held_out=0.3)
    assert {row["source"] for row in train.rows()} == {"a"}
    marked = held_out.frame().to_pydict()
    assert {name: reason for name, reason in zip(marked["id"], marked["drop_reason"]) if reason} == dict.fromkeys(
        ["b-title", "b-part", "b-near"], "twin in training"
    )
    assert (train.funnel(), held_out.funnel()) == (Funnel(12, 12), Funnel(6, 3, {"twin in training": 3}))


def test_rows_marked_before_go_to_training_with_their_marks(tmp_path):
    rows = corpus({"a": 4, "b": 4}).frame().to_pylist()
    rows = [
        row | {"drop_reason": "rule" if row["id"] == "b/1" else None, "error": "binary" if row["id"] == "a/0" else None}
        for row in rows
    ]
    train, held_out = split(Corpus.from_rows(rows), held_out=0.4)
    funnels = [side.save(tmp_path / name).funnel() for name, side in (("train", train), ("held_out", held_out))]
    assert sum(funnel.total for funnel in funnels) == 8
    assert (funnels[0].dropped, funnels[0].quarantined) == ({"rule": 1}, {"binary": 1})
    assert funnels[1].total == funnels[1].kept


@given(st.dictionaries(st.text("abcü", min_size=1, max_size=3), st.integers(1, 5), min_size=2, max_size=8), st.floats(0.01, 0.99))
def test_every_document_is_on_one_side_and_neither_is_empty(groups, share):
    whole = corpus(groups, length=30)
    train, held_out = split(whole, held_out=share)
    assert sorted(ids(train) + ids(held_out)) == sorted(ids(whole))
    assert ids(train) and ids(held_out)


def test_holding_out_nothing_keeps_all():
    train, held_out = split(corpus({"a": 2}), held_out=0)
    assert ids(train) == ["a/0", "a/1"]
    assert (ids(held_out), held_out.frame().column_names[:3]) == ([], ["id", "text", "source"])


def test_two_documents_are_one_each():
    train, held_out = split(corpus({"a": 2}), by=None)
    assert sorted(ids(train) + ids(held_out)) == ["a/0", "a/1"] and len(held_out) == 1


def test_documents_without_group_are_a_group():
    rows = [row | {"site": None if row["source"] == "a" else "x"} for row in corpus({"a": 3, "b": 2}).frame().to_pylist()]
    train, held_out = split(Corpus.from_rows(rows), by="site", held_out=0.4)
    assert {name[0] for name in ids(train)} == {"a"} and {name[0] for name in ids(held_out)} == {"b"}


def test_a_share_that_the_groups_do_not_allow_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        split(corpus({"a": 5, "b": 5}), held_out=0.1)
    assert "held_out=0.1 could be met only as 0." in caplog.text


def test_what_cannot_be_split_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"all documents have the same 'source', 'a', .* set by: null"):
        split(corpus({"a": 5}))
    with pytest.raises(ValueError, match="one document can't be split"):
        split(corpus({"a": 1}), by=None)
    with pytest.raises(ValueError, match="holds no document"):
        split(Corpus.from_rows([], ["id", "text", "source"]))
    with pytest.raises(ValueError, match="by='module' is no column"):
        split(corpus({"a": 2}), by="module")
    same = Corpus.from_rows([{"id": name, "text": "the same text", "source": name} for name in "ab"])
    with pytest.raises(ValueError, match=r"run curate\.duplicates"):
        split(same)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"held_out={share}"):
        split(corpus({"a": 2, "b": 2}), held_out=share)
