"""curate.duplicates: finds what comparing all pairs finds, keeps the first of each, and says whose copy each is."""

import random
import time

import pytest

from metier.artifacts import Corpus, Funnel
from metier.curate.duplicates import duplicates
from metier.engines.data.similar import comparable

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
        first = list(range(len(texts)))
        for j in range(len(texts)):  # ten-line reference: union by the smallest
            for i in range(j):
                if jaccard(texts[i], texts[j]) >= threshold:
                    low, high = sorted((first[i], first[j]))
                    first = [low if one == high else one for one in first]
        expected = {f"d{j}": None if first[j] == j else f"d{first[j]}" for j in range(len(texts))}
        assert {name: original for name, (_, original) in marks(texts, threshold=threshold).items()} == expected


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


def test_ten_thousand_documents_take_seconds():
    generator = random.Random(0)
    texts = [text(generator, 150) for _ in range(9000)]
    texts += [changed(generator, original, 0.005) for original in texts[:1000]]
    began = time.perf_counter()
    found = duplicates(corpus(texts)).funnel()
    assert time.perf_counter() - began < 30
    true = sum(jaccard(texts[index], texts[9000 + index]) >= 0.8 for index in range(1000))
    assert 0.98 * true <= found.total - found.kept <= true


def test_bad_settings_and_ids_are_named():
    with pytest.raises(ValueError, match="threshold=0 is no similarity"):
        duplicates(corpus(["x"]), threshold=0)
    twice = Corpus.from_rows([{"id": "a", "text": "x", "source": "s"}] * 2)
    with pytest.raises(ValueError, match="'a' stands for two documents"):
        duplicates(twice)
