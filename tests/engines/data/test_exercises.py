"""What patterns find: the authors' counts on their sample documents, pairs by hand, sentences, and time that stays linear."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.exercises import Exercise, mined_pairs, sentences, word_sentences
from metier.engines.data.reading import title_of

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "curate" / "reading-comprehension"
A = "The enzyme loses all of its activity above a temperature of sixty degrees"
B = "the reaction is carried out in a cooled vessel by most laboratories today"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample documents of AdaptLLM are not beside the checkout")
def test_the_authors_counts_on_their_samples():
    import sentencepiece

    general, domain = (
        sentencepiece.SentencePieceProcessor(model_file=str(SAMPLES / f"{name}.spm")) for name in ("general", "domain")
    )
    pieces = [{model.id_to_piece(number) for number in range(len(model))} for model in (domain, general)]
    terms = frozenset(piece for piece in pieces[0] - pieces[1] if piece.startswith("▁") and len(piece) > 10)
    counts: Counter[str] = Counter()
    for number in range(12):
        title, body = title_of((SAMPLES / f"{number}.txt").read_text())
        parts = sentences(body)
        found = mined_pairs(body) + word_sentences(
            parts, lambda text: domain.encode(text, out_type=str), terms, random.Random(number)
        )
        counts.update(exercise.kind for exercise in found)
        counts.update({"title": int(title is not None), "completion": int(len(parts) >= 2)})
    assert counts == {"nli": 11, "cause": 5, "paraphrase": 11, "words": 25, "title": 12, "completion": 12}


@pytest.mark.parametrize(
    ("connective", "labels"),
    [
        ("Therefore", {("nli", "entail"), ("cause", "cause_effect")}),
        ("yes", {("nli", "entail")}),
        ("HOWEVER", {("nli", "contradict"), ("paraphrase", "different")}),
        ("In addition", {("nli", "neutral")}),
        ("In other words", {("paraphrase", "similar")}),
        ("i.e.", {("paraphrase", "similar")}),
    ],
)
def test_connectives_join_two_sentences(connective, labels):
    found = mined_pairs(f"First. {A}. {connective}, {B}.\nEnd")
    assert {(exercise.kind, exercise.label) for exercise in found} == labels
    assert {(exercise.first, exercise.second, exercise.connective) for exercise in found} == {(f"{A}.", f"{B}.", connective)}


def test_other_patterns_by_hand():
    assert mined_pairs(f"First. {A}. due to {B}.\n") == [Exercise("cause", "effect_cause", f"{A}.", f"{B}.", "due to")]
    definition = "the speed at which a reaction proceeds."
    assert mined_pairs(f"Now reactivity is defined as {definition}\n") == [
        Exercise("words", "definition", "reactivity", definition, "is defined as")
    ]
    assert mined_pairs(f"So reactivity's definition is {definition}\n")[0].first == "reactivity"
    topic = mined_pairs("End. This chapter of the handbook is about enzymes and about what they do.\n")
    assert topic == [Exercise("words", "topic", "This chapter of the handbook", "enzymes and about what they do.", "is about")]


def test_what_is_no_pair():
    for text in (
        f"{A}. Therefore, {B}.\n",  # nothing ends before the first sentence
        f"First. {A}. Therefore, {B}.",  # nothing follows
        f"First. {A}. Therefore {B}.\n",  # no comma
        f"First. Too short. Therefore, {B}.\n",
        f"First. {A}, as known. Therefore, {B}.\n",  # a comma inside
        f"First. {A}\nof lines. Therefore, {B}.\n",
        "",
    ):
        assert mined_pairs(text) == [], text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One. ", "Two? ", "Three!"]),
        ("See Roe v. Wade and Fed. R. Civ. P. 12. Next.", ["See Roe v. Wade and Fed. R. Civ. P. 12. ", "Next."]),
        ("Acme Inc. won. No. 5 lost.", ["Acme Inc. won. ", "No. 5 lost."]),
        ("by J. Smith et al. in 1990. It", ["by J. Smith et al. in 1990. ", "It"]),
        ("approx. 3.5 mg, i.e. little. More", ["approx. 3.5 mg, i.e. little. ", "More"]),
        ("He said no. She left.", ["He said no. ", "She left."]),
        ('He said "no." She left.', ['He said "no." ', "She left."]),
        ("One line\nAnother", ["One line\n", "Another"]),
        ("一句。二句！三", ["一句。", "二句！", "三"]),
        ("", []),
    ],
)
def test_sentences_by_hand(text, expected):
    assert sentences(text) == expected


@given(st.text("aB. !?\n,v\"'(。", max_size=80))
def test_sentences_joined_are_the_text(text):
    parts = sentences(text)
    assert "".join(parts) == text
    assert all(parts)


def test_sentences_of_domain_words():
    def pieces(text):
        return [f"▁{word}" for word in text.split()]

    terms = frozenset({"▁alpha", "▁beta", "▁gamma", "▁delta"})
    texts = [
        "alpha beta",
        "alpha x beta alpha gamma delta",
        "alpha beta gamma " + " ".join(map(str, range(98))),
        "beta gamma delta",
    ]
    found = word_sentences(texts, pieces, terms, random.Random(0))
    assert {(one.first, one.second) for one in found} == {("alpha, beta, gamma", texts[1]), ("beta, gamma, delta", texts[3])}
    assert len(word_sentences(texts * 3, pieces, terms, random.Random(0))) == 2
    assert word_sentences([], pieces, terms, random.Random(0)) == []


def test_long_texts_without_ends_take_no_time():
    began = time.perf_counter()
    for text in ("word " * 40_000, ". " + " " * 200_000, "?" * 2000 + "a", ". " + "However, " * 20_000, "a, b. " * 30_000):
        mined_pairs(text)
        sentences(text)
    assert time.perf_counter() - began < 5
