"""curate.fineweb2: whole runs on generated languages, each number known beforehand."""

import json
import random

import pytest
from pydantic_core import to_jsonable_python

from metier.artifacts import Corpus, Funnel
from metier.curate.fineweb2 import fineweb2, touched_up
from metier.engines.data.page_statistics import measure

SYLLABLES = {"aaa_Latn": ["ba", "ke", "lo", "mi", "nu", "ra"], "bbb_Latn": ["gro", "sta", "vel", "thi", "dun", "pok"]}
SYLLABLES["ccc_Latn"] = ["xo", "zi", "qua", "wex", "yem", "jop"]


def lexicon(kind, size=300):
    generator = random.Random(f"{kind} words")
    return sorted({"".join(generator.choices(SYLLABLES[kind], k=generator.randint(1, 5))) for _ in range(size)})


def page(kind, seed, num_words=150):
    """Prose of 8 to 14 words a line; the words of the lexicon follow Zipf's law."""
    generator, found = random.Random(f"{kind} {seed}"), lexicon(kind)
    weights = [1 / (1 + rank) for rank in range(len(found))]
    text, left = [], num_words
    while left > 0:
        length = generator.randint(8, 14)
        text.append(" ".join(generator.choices(found, weights, k=length)) + ".")
        left -= length
    return "\n".join(text)


def rows(kind, seeds, prefix, **columns):
    return [{"id": f"{prefix}{seed}", "text": page(kind, seed), "source": "s", "language": kind} | columns for seed in seeds]


def reference(*kinds, size=120):
    return Corpus.from_rows([row for kind in kinds for row in rows(kind, range(1000, 1000 + size), f"{kind} r")])


def reasons(result):
    found = result.corpus.frame().to_pydict()
    return dict(zip(found["id"], found["drop_reason"]))


def test_bad_pages_are_marked_by_rule_and_good_ones_kept():
    good = rows("aaa_Latn", range(40), "g")
    bad = [
        {"id": "few", "text": "ba ke lo.", "source": "s"},
        {"id": "phrases", "text": "ba ke lo mi " * 60, "source": "s"},
        {"id": "menu", "text": page("aaa_Latn", 5000).replace(".", ""), "source": "s"},
        {"id": "copy", "text": good[3]["text"], "source": "s"},
    ]
    result = fineweb2(Corpus.from_rows(good + bad), reference("aaa_Latn"))
    found = reasons(result)
    assert found["few"] == "too few words"
    assert found["phrases"] == "top 2-gram"
    assert found["menu"] == "punctuated lines"
    assert found["copy"] == "exact duplicate"
    # Newlines per word, shortest and longest words lose up to a tenth each; the other rules lose nothing of these pages.
    assert 0.1 < result.lost["all"] <= 0.3
    assert sum(found[row["id"]] is not None for row in good) <= 20
    assert fineweb2(Corpus.from_rows(good), reference("aaa_Latn"), tail=0.01).lost["all"] <= 0.03


def test_thresholds_of_a_language_are_its_reference_quantiles():
    result = fineweb2(Corpus.from_rows(rows("aaa_Latn", range(5), "g")), reference("aaa_Latn"))
    lengths = sorted(measure(page("aaa_Latn", seed))["long words"] for seed in range(1000, 1120))
    limits = result.thresholds["all"]
    assert limits["long words"].value == lengths[107]  # 12 of 120 lie above
    assert limits["short words"].value == lengths[12]
    assert limits["long words"].low <= lengths[107] <= limits["long words"].high
    assert len(result.stop_words["all"]) >= 8
    assert json.loads(json.dumps(to_jsonable_python(result.thresholds)))["all"]["long words"]["value"] == lengths[107]


def test_each_language_has_its_own_thresholds_and_unknown_ones_are_marked():
    corpus = Corpus.from_rows(
        [*rows("aaa_Latn", range(3), "a"), *rows("bbb_Latn", range(3), "b"), *rows("aaa_Latn", [7], "x", language="ccc")]
    )
    result = fineweb2(corpus, reference("aaa_Latn", "bbb_Latn"), by="language")
    assert sorted(result.thresholds) == ["aaa_Latn", "bbb_Latn"]
    assert result.thresholds["aaa_Latn"]["long words"].value < result.thresholds["bbb_Latn"]["short words"].value
    assert reasons(result)["x7"] == "no reference text"
    assert min(result.lists.values()) > 0


def test_scores_below_median_minus_deviation_are_marked():
    scores = [0.8] * 10 + [0.5]  # deviation 0.086
    corpus = Corpus.from_rows([row | {"language_score": score} for row, score in zip(rows("aaa_Latn", range(11), "g"), scores)])
    found = reasons(fineweb2(corpus, reference("aaa_Latn"), by="language"))
    assert [name for name, reason in found.items() if reason == "language score"] == ["g10"]


def test_pages_without_a_word_of_their_language_are_marked_where_they_are_many():
    def shared(row, **columns):  # words of both languages, so that foreign pages pass the rule of stop words
        return row | {"text": row["text"].replace(".", " the of and."), "language": "aaa_Latn"} | columns

    good = Corpus.from_rows(
        [
            shared(row, language=row["language"])
            for kind in ("aaa_Latn", "bbb_Latn")
            for row in rows(kind, range(1000, 1120), kind)
        ]
    )
    own = [shared(row, url=None) for row in rows("aaa_Latn", range(60), "own")]
    foreign = [shared(row, url="http://x.org/aaab") for row in rows("ccc_Latn", range(20), "f")]
    foreign[7]["url"] = "http://x.org/AAA/page"  # it names the language
    settings = {"by": "language", "quality_rule": "english", "max_repeats": 1}

    def run(num_foreign, **more):
        result = fineweb2(Corpus.from_rows(own + foreign[:num_foreign]), good, **settings | more)
        return result, [name for name, reason in reasons(result).items() if reason == "no word of the language"]

    result, marked = run(20)
    assert marked == [f"f{number}" for number in range(20) if number != 7]
    assert result.contamination == {"aaa_Latn": 19 / 80}
    assert 0 < result.lists["aaa_Latn"] < 30
    assert run(6)[1] == []  # 6 of 66 are less than a tenth
    assert run(20, min_precision=0)[1] == []


def test_large_clusters_of_good_pages_are_repeated():
    generator = random.Random(0)
    made = []
    for number in range(900):
        size = 1 if number < 600 else 3
        bad = generator.random() < (0.7 if size == 1 else 0.1)
        text = "ba ke lo mi " * 60 if bad else page("aaa_Latn", number)
        made.append({"id": f"d{number}", "text": text, "source": "s", "minhash_cluster_size": size})
    limits = {"quality_rule": "english", "repetition_rule": "english"}
    result = fineweb2(Corpus.from_rows(made), reference("aaa_Latn"), **limits, max_repeats=4)
    assert result.repeats == {"all": {1: 1, 3: 4}}
    table = result.corpus.frame().to_pydict()
    ids = [name for name, reason in zip(table["id"], table["drop_reason"]) if reason is None]
    kept = {
        row["id"]: row["minhash_cluster_size"] for row in made if row["text"][:5] != "ba ke" or row["text"][:11] != "ba ke lo mi"
    }
    assert len(ids) == len(set(ids)) == sum(1 if size == 1 else 4 for size in kept.values())
    some = next(name for name, size in kept.items() if size == 3)
    assert [name for name in ids if name.partition("#")[0] == some] == [some, f"{some}#2", f"{some}#3", f"{some}#4"]
    once = fineweb2(Corpus.from_rows(made), reference("aaa_Latn"), **limits, max_repeats=1)
    assert len(once.corpus) == len(kept)


def test_clusters_are_counted_and_marks_stand(tmp_path):
    good = rows("aaa_Latn", range(4), "g")
    made = [*good, *[good[1] | {"id": f"c{number}"} for number in range(3)]]
    made = [row | {"drop_reason": None, "error": None} for row in made]
    made += [
        good[0] | {"id": "before", "drop_reason": "rule", "error": None},
        good[0] | {"id": "unread", "drop_reason": None, "error": "binary: x"},
    ]
    limits = {"quality_rule": "english", "repetition_rule": "english", "max_repeats": 1}
    result = fineweb2(Corpus.from_rows(made), reference("aaa_Latn"), **limits)
    table = result.corpus.frame().to_pydict()
    sizes = dict(zip(table["id"], table["minhash_cluster_size"]))
    assert [sizes[f"g{number}"] for number in range(4)] == [1, 4, 1, 1]
    assert result.corpus.save(tmp_path).funnel() == Funnel(9, 4, {"exact duplicate": 3, "rule": 1}, {"binary": 1})


def test_touch_up():
    text = "mail a.b@c.org or 8.8.8.8, not 10.0.0.1 and not 300.1.1.1\n| a | b |"
    assert touched_up(text) == "mail email@example.com or 192.0.2.1, not 10.0.0.1 and not 300.1.1.1\n\na\nb"
    good = rows("aaa_Latn", range(2), "g")
    good[0]["text"] += "\nba | ke lo."
    limits = {"quality_rule": "english", "repetition_rule": "english"}
    texts = [
        fineweb2(Corpus.from_rows(good), reference("aaa_Latn"), **limits, touch_up=up).corpus.frame().to_pydict()["text"]
        for up in (True, False)
    ]
    assert texts[1] == [row["text"] for row in good]
    assert texts[0] == [good[0]["text"].replace(" | ", "\n"), good[1]["text"]]


def test_an_empty_corpus_stays_empty():
    empty = Corpus.from_rows([], ["id", "text", "source"])
    assert fineweb2(empty, reference("aaa_Latn")).corpus.frame().to_pylist() == []


def test_bad_settings_are_named():
    corpus, good = Corpus.from_rows(rows("aaa_Latn", [1], "g")), reference("aaa_Latn")
    for settings, message in [
        ({"by": "tongue"}, "by='tongue' is no column of the corpus"),
        ({"min_precision": 2}, "min_precision=2 is no share"),
        ({"min_words": -1}, "min_words=-1"),
        ({"max_repeats": 0}, "max_repeats=0 would drop good pages"),
        ({"tail": 0}, "tail=0 is no share"),
        ({"repetition_rule": "mean_std"}, "repeated lines: the rule 'mean_std' compares with English"),
    ]:
        with pytest.raises(ValueError, match=message):
            fineweb2(corpus, good, **settings)
    with pytest.raises(ValueError, match=r"fewer than 100 documents of \{'all': 5\}"):
        fineweb2(corpus, reference("aaa_Latn", size=5))
    with pytest.raises(ValueError, match="holds no document"):
        fineweb2(corpus, Corpus.from_rows([], ["id", "text", "source"]))
