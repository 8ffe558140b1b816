"""curate.duplicates: finds what comparing all pairs finds, keeps the first of each, and says whose copy each is."""

import random

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.artifacts import Corpus, Funnel
from metier.curate.duplicates import duplicates
from metier.engines.data import minhash, similar
from metier.engines.data.minhash import comparable

WORDS = [f"w{number}" for number in range(3000)]


def corpus(texts, **columns):
    rows = [{"id": f"d{number}", "text": text, "source": "s"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def marks(texts, **settings):
    found = duplicates(corpus(texts), **settings).frame().to_pydict()
    return dict(zip(found["id"], zip(found["drop_reason"], found["duplicate_of"])))


def text(generator, length=120):
    return " ".join(generator.choices(WORDS, k=length))


def changed(generator, words, share):
    return " ".join(word if generator.random() >= share else generator.choice(WORDS) for word in words.split(" "))


def jaccard(one, other):
    shingles = [{tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))} for words in (one.split(), other.split())]
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def expected_originals(texts, threshold):
    """Ten-line reference: union by the smallest."""
    first = list(range(len(texts)))
    for j in range(len(texts)):
        for i in range(j):
            if jaccard(texts[i], texts[j]) >= threshold - 1e-9:
                low, high = sorted((first[i], first[j]))
                first = [low if one == high else one for one in first]
    return {f"d{j}": None if first[j] == j else f"d{first[j]}" for j in range(len(texts))}


def test_exact_and_near_copies_name_the_first_of_their_kind():
    long = text(random.Random(1))
    texts = ["Alpha, beta gamma!", "alpha BETA\n gamma", long, long + " and an end", "other words", long.upper(), long + " and"]
    assert marks(texts) == {
        "d0": (None, None),
        "d1": ("exact duplicate", "d0"),
        "d2": (None, None),
        "d3": ("near duplicate", "d2"),
        "d4": (None, None),
        "d5": ("exact duplicate", "d2"),
        "d6": ("near duplicate", "d2"),
    }


def test_agrees_with_comparing_all_pairs():
    generator = random.Random(7)
    texts = []
    for _ in range(60):
        original = text(generator, generator.randint(20, 200))
        texts += [original] + [changed(generator, original, generator.choice([0.005, 0.01, 0.02, 0.05, 0.2])) for _ in range(3)]
    generator.shuffle(texts)
    for threshold in (0.5, 0.8):
        found = {name: original for name, (_, original) in marks(texts, threshold=threshold).items()}
        assert found == expected_originals(texts, threshold)


def test_a_title_makes_no_difference_and_short_bodies_do_not_make_one():
    body = "This method returns the next item of the queue, and waits for one where it is empty."
    assert marks([f"a.get()\n\n{body}", f"b.get(x, y)\n\n{body}"])["d1"] == ("near duplicate", "d0")
    assert marks(["math.sin(x)\n\nReturn the sine of x.", "math.cos(x)\n\nReturn the cosine of x."])["d1"] == (None, None)
    assert marks(["What is the capital of France?\n\nI do not know.", "Who wrote Faust?\n\nI do not know."])["d1"] == (None, None)
    assert comparable("One\n\ntwo") == "one two"


def test_texts_without_words_and_other_scripts_are_compared():
    assert {name: reason for name, (reason, _) in marks(["???", "!!!", "???", "", "这是一个文本", "这是一个文本。", "这是别的文本"]).items()} == {
        "d0": None, "d1": None, "d2": "exact duplicate", "d3": None, "d4": None, "d5": "exact duplicate", "d6": None,
    }  # fmt: skip


def test_marked_rows_stay_as_they_are_and_are_compared_with_nothing(tmp_path):
    rows = corpus(["same text here"] * 4, drop_reason=["rule", None, None, None], error=[None, None, None, "binary: x"])
    assert duplicates(rows).frame().to_pydict()["drop_reason"] == ["rule", None, "exact duplicate", None]
    assert duplicates(rows).save(tmp_path).funnel() == Funnel(4, 1, {"rule": 1, "exact duplicate": 1}, {"binary": 1})


def test_none_one_and_two_documents():
    assert duplicates(Corpus.from_rows([], ["id", "text", "source"])).frame().to_pylist() == []
    assert marks(["x"]) == {"d0": (None, None)}
    assert marks(["x", "x"]) == {"d0": (None, None), "d1": ("exact duplicate", "d0")}


def test_the_seed_changes_the_hashes_and_not_what_is_found():
    generator = random.Random(3)
    original = text(generator)
    texts = [original, *[changed(generator, original, 0.01) for _ in range(5)], *[text(generator) for _ in range(20)]]
    assert marks(texts, seed=0) == marks(texts, seed=1) == marks(texts, seed=-5)


def test_of_ten_thousand_documents_no_more_than_a_fiftieth_of_the_copies_is_missed():
    generator = random.Random(0)
    texts = [text(generator, 150) for _ in range(9000)]
    texts += [changed(generator, original, 0.005) for original in texts[:1000]]
    found = duplicates(corpus(texts)).funnel()
    true = sum(jaccard(texts[index], texts[9000 + index]) >= 0.8 for index in range(1000))
    assert 0.98 * true <= found.total - found.kept <= true


def test_bad_settings_and_ids_are_named():
    with pytest.raises(ValueError, match="threshold=0 is no similarity"):
        duplicates(corpus(["x"]), threshold=0)
    twice = Corpus.from_rows([{"id": "a", "text": "x", "source": "s"}] * 2)
    with pytest.raises(ValueError, match="'a' stands for two documents"):
        duplicates(twice)


def test_the_size_of_each_cluster_is_said():
    texts = ["the same words", "other words", "The same words!", "the same, words", "other words entirely"]
    found = duplicates(corpus(texts, drop_reason=[None, None, None, None, "rule"])).frame().to_pydict()
    assert found["minhash_cluster_size"] == [3, 1, 3, 3, 1]


def test_equal_words_are_copies_even_where_one_has_a_title():
    body = "some ten words that stand below a title of their own"
    assert marks([f"Title\n\n{body}", f"title {body}"])["d1"] == ("exact duplicate", "d0")


def test_bands_and_rows_without_a_second_look_link_candidates():
    generator = random.Random(2)
    original = text(generator, 200)
    texts = [original, changed(generator, original, 0.05), text(generator, 200)]
    assert jaccard(*texts[:2]) < 0.72
    assert marks(texts, threshold=None, bands=64, rows=1)["d1"] == ("near duplicate", "d0")
    assert marks(texts, threshold=0.72, bands=64, rows=1)["d1"] == (None, None)
    assert marks(texts, threshold=None, bands=2, rows=60)["d1"] == (None, None)


def test_ngram_says_what_is_compared():
    texts = ["a b c d e f g h", "h g f e d c b a"]
    assert marks(texts, ngram=1)["d1"] == ("near duplicate", "d0")
    assert marks(texts, ngram=2)["d1"] == (None, None)


FEW = st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), min_size=1, max_size=12)


@settings(max_examples=8, deadline=None)
@given(FEW, st.sampled_from([0.5, 0.8]), st.randoms(use_true_random=False))
def test_small_corpora_agree_with_all_pairs_in_any_order(documents, threshold, generator):
    """Marks are never wrong; with one hash a band nearly nothing is missed; the order says only which of a cluster is first."""
    texts = [" ".join(one) for one in documents]
    order = generator.sample(range(len(texts)), len(texts))
    for these in (texts, [texts[index] for index in order]):
        found = {name: original for name, (_, original) in marks(these, threshold=threshold, bands=100, rows=1).items()}
        assert found == expected_originals(these, threshold)


def test_neither_batches_nor_files_nor_parts_change_anything(tmp_path, monkeypatch):
    generator = random.Random(5)
    texts = [text(generator, 60) for _ in range(40)]
    texts += [changed(generator, one, 0.01) for one in texts] + texts[:10]
    expected = marks(texts)
    monkeypatch.setattr(minhash, "_BATCH_ROWS", 7)
    monkeypatch.setattr(similar, "_BATCH_ROWS", 11)
    monkeypatch.setattr(similar, "_PAIRS_AT_ONCE", 3)
    assert marks(texts) == expected
    rows = corpus(texts).arrow()
    for number in range(5):
        pq.write_table(rows.slice(18 * number, 18), tmp_path / f"part-{number}.parquet")
    found = duplicates(Corpus.open(tmp_path)).frame().to_pydict()
    assert dict(zip(found["id"], zip(found["drop_reason"], found["duplicate_of"]))) == expected


def test_files_go_to_the_work_folder_and_are_gone_afterwards(tmp_path):
    assert duplicates(corpus(["a b", "a b"]), workdir=tmp_path).frame().to_pydict()["duplicate_of"] == [None, "d0"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        duplicates(corpus(["a b"]), workdir=tmp_path / "missing")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"threshold": None}, "give bands and rows"),
        ({"bands": 14}, "bands=14 and rows=None"),
        ({"bands": 0, "rows": 8}, "bands=0 and rows=8"),
        ({"ngram": 0}, "ngram=0"),
    ],
)
def test_bad_bands_and_ngrams_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        duplicates(corpus(["x"]), **setting)
