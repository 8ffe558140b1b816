"""curate.beancounter.toxicity: sentences are counted once, effects are those of the formulas, scorers are checked."""

import numpy as np
import pytest
from scipy import stats

from metier.artifacts import Corpus
from metier.curate.beancounter.descriptors import DESCRIPTORS, finder_of
from metier.curate.beancounter.effects import Scored, effect_rows
from metier.curate.beancounter.scorers import classifier, open_scorer
from metier.curate.beancounter.toxicity import toxicity


def corpus(texts, **columns):
    rows = [{"id": f"s{number}", "text": text, "source": "made"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[place] for name, values in columns.items()} for place, row in enumerate(rows)])


def test_descriptors_are_found_between_edges_in_their_case():
    finder = finder_of({"a": ["African-American", "American", "c++"], "b": ["non-binary"]})
    assert finder.found("An African American, not american.") == ["African-American", "American"]
    assert finder.found("Americans and c++ (non binary)") == ["c++", "non-binary"]
    assert finder.found("American") == ["American"]
    assert finder_of(DESCRIPTORS).found("nothing here") == []
    for wrong in ({}, {"a": [""]}, {"a": ["x"], "b": ["x"]}):
        with pytest.raises(ValueError, match="descriptors"):
            finder_of(wrong)


def by_word(texts):
    return [0.9 if "bad" in text else 0.1 for text in texts]


def test_sentences_count_once_and_under_their_longest_descriptor():
    ours = corpus(
        ["A male nurse came. A bad female one too.\nA male nurse came. No group.", "An Asian male was bad. He left."],
        accession=["f", "g"],
    )
    theirs = corpus(["A bad male. A good male. A bad, bad female.", "The male was bad."])
    groups, prevalence, sentences = toxicity(ours, theirs, scorer=by_word, per_descriptor=5)
    rows = {(row["level"], row["descriptor"] or row["axis"]): row for row in groups.rows()}
    male, female, asian = (rows["descriptor", name] for name in ("male", "female", "Asian"))
    assert (male["num_sentences"], male["reference_num_sentences"], male["reference_num_scored"]) == (1, 3, 1)
    assert (female["mean"], female["reference_mean"], female["change"]) == pytest.approx((0.9, 0.9, 0.0))
    assert (asian["mean"], asian["reference_mean"], asian["change"], asian["p"]) == (0.9, None, None, None)
    assert rows["all", None]["mean"] == pytest.approx((0.1 + 0.9 + 0.9) / 3)
    assert rows["all", None]["reference_mean"] == pytest.approx((male["reference_mean"] + 0.9) / 2)
    assert [row["low"] for row in rows.values()] == [None] * len(rows)  # fewer than five filings
    assert sorted(row["text"] for row in sentences.rows() if row["side"] == "corpus") == [
        "A bad female one too.",
        "A male nurse came.",
        "An Asian male was bad.",
    ]
    shares = {(row["axis"], row["descriptor"]): (row["num_filings"], row["of"]) for row in prevalence.rows()}
    assert shares["gender_and_sex", None] == (2, 2) and shares["gender_and_sex", "female"] == (1, 2)
    assert shares["race_ethnicity", "Asian"] == (1, 1) and shares["pronouns", "gendered"] == (1, 2)
    named = toxicity(ours, scorer=by_word, descriptors={"x": ["nurse"]})
    assert [row["descriptor"] for row in named.groups.rows()] == ["nurse", None, None]


def test_effects_agree_with_formulas_where_sentences_are_filings():
    generator = np.random.default_rng(0)
    ours, theirs = generator.beta(2, 8, 400), generator.beta(3, 7, 300)
    sides = [
        Scored(["x"] * len(side), [f"f{i}" for i in range(len(side))], list(side), {"x": len(side)}) for side in (ours, theirs)
    ]
    row = effect_rows(*sides, {"x": "axis"}, 0)[0]
    assert row["mean"] == pytest.approx(ours.mean()) and row["change"] == pytest.approx(ours.mean() / theirs.mean() - 1)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    assert row["p"] == pytest.approx(expected, rel=1e-9) and row["welch_p"] == pytest.approx(expected, rel=1e-9)
    error = ours.std(ddof=1) / 20
    assert row["low"] == pytest.approx(ours.mean() - 1.966 * error, abs=0.15 * error)
    assert row["high"] == pytest.approx(ours.mean() + 1.966 * error, abs=0.15 * error)
    # ten copies of each sentence in its filing: the same knowledge, and the paper's test takes it for ten times as much
    many = [Scored(list(s.descriptors) * 10, list(s.filings) * 10, list(s.scores) * 10, {"x": 10}) for s in sides]
    copied = effect_rows(*many, {"x": "axis"}, 0)[0]
    assert (copied["low"], copied["p"]) == pytest.approx((row["low"], row["p"]))
    assert copied["welch_p"] < row["welch_p"] ** 5


def test_pooled_means_weigh_descriptors_as_the_corpus_has_them():
    ours = Scored(["x"] * 30 + ["y"] * 10, [str(i) for i in range(40)], [0.2] * 30 + [0.6] * 10, {"x": 30, "y": 10})
    theirs = Scored(["x"] * 10 + ["y"] * 30, [str(i) for i in range(40)], [0.2] * 10 + [0.6] * 30, {"x": 10, "y": 30})
    rows = effect_rows(ours, theirs, {"x": "a", "y": "a"}, 0)
    assert rows[-1]["reference_mean"] == pytest.approx(0.3) and rows[-1]["change"] == pytest.approx(0)
    assert rows[-1]["mean"] == pytest.approx(0.3)


def test_scorers_are_named_and_checked(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    from metier.engines.generate.open import open_language_model

    names = corpus(["A female one. A male one."])
    for arguments, message in [
        ({}, "no scorer"),
        ({"scorer": "nowhere"}, "is no folder"),
        ({"scorer": "no.module:x"}, "cannot be imported"),
        ({"scorer": lambda texts: [2.0] * len(texts)}, "between 0"),
        ({"scorer": lambda texts: []}, "gave 0 scores for 2"),
        ({"scorer": by_word, "per_descriptor": 0}, "per_descriptor=0"),
        ({"scorer": by_word, "descriptors": {"a": ["zebra"]}}, "no sentence of the corpus"),
    ]:
        with pytest.raises(ValueError, match=message):
            toxicity(names, **arguments)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=8,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            id2label={0: "fine", 1: "toxic"},
        )
    )
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    texts = ["a b c", "a", "c c c c b"]
    scores, others = classifier(str(tmp_path))(texts), classifier(str(tmp_path), "fine")(texts)
    assert [one + other for one, other in zip(scores, others)] == pytest.approx([1.0] * 3)
    assert scores[1] == pytest.approx(classifier(str(tmp_path))(["a"])[0], abs=1e-6)  # whatever stands beside it
    with pytest.raises(ValueError, match="'rude' is not one of its labels"):
        classifier(str(tmp_path), "rude")
    judged = open_scorer(None, open_language_model("tiny", cache=False), None)(["fine", "rude"])
    assert all(0 < score < 1 for score in judged) and judged[0] != judged[1]
