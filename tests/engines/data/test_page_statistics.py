"""The numbers of a page, counted by hand and by plain references; and the rules that read them."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.page_statistics import STATISTICS, failed_rule, measure

ENGLISH = {name: statistic.english for name, statistic in STATISTICS.items()}
VOCABULARY = [a + b + c for a in "bdfgk" for b in "aeiou" for c in ("n", "rst", "lmed", "ssion", "t")]


def prose(seed=0, lines=8, words=12):
    generator = random.Random(seed)
    return "\n".join(
        " ".join(generator.choices(VOCABULARY, k=words)) + f" and the {line}." for line, _ in enumerate(range(lines))
    )


LONG = prose(3, lines=1, words=60)


def test_values_by_hand():
    page = "One fish, two fish.\nOne fish, two fish.\n\nThe end"
    values = measure(page)
    assert values["repeated lines"] == 1 / 3
    assert values["top 2-gram"] == len("One fish") * 2 / len(page)
    assert values["top 4-gram"] == len("One fish two fish") * 2 / len(page)
    assert values["repeated 5-grams"] == 0
    assert values["punctuated lines"] == 2 / 3
    assert values["newlines per word"] == 3 / 14  # ten words, four marks
    assert values["short words"] == values["long words"] == (3 + 4 + 3 + 4) * 2 / 10 + 6 / 10
    assert values["words with a letter"] == 10 / 14


def test_a_page_without_words_has_zeros():
    for page in ("", "???", "\n\n", "—"):
        assert set(measure(page).values()) == {0.0} or page == "\n\n" or measure(page)["punctuated lines"] == 1
        assert failed_rule(page, ENGLISH, frozenset()) == "too few words"


def test_scripts_without_spaces_and_indic_marks():
    assert measure("这是一个文本。")["short words"] == 1
    assert measure("这是一个文本。")["punctuated lines"] == 1
    assert measure("यह हिन्दी है।")["punctuated lines"] == 1
    hindi = measure("हिन्दी में लिखा हुआ")
    assert hindi["words with a letter"] == 1  # vowel signs are no punctuation


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), max_size=60), st.integers(5, 10))
def test_repeated_ngrams_against_a_plain_reference(found, n):
    seen, characters, place = set(), 0, 0
    while place <= len(found) - n:
        ngram = "".join(found[place : place + n])
        key = tuple(found[place : place + n])
        if key in seen:
            characters, place = characters + len(ngram), place + n
        else:
            seen.add(key)
            place += 1
    text = " ".join(found)
    assert measure(text)[f"repeated {n}-grams"] == characters / max(1, len(text))


@given(st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=40), st.integers(2, 4))
def test_the_top_ngram_against_a_plain_reference(found, n):
    counts = Counter(" ".join(found[place : place + n]) for place in range(len(found) - n + 1))
    text = " ".join(found)
    tops = {len(ngram) * count if count > 1 else 0 for ngram, count in counts.items() if count == max(counts.values())} or {0}
    assert round(measure(text)[f"top {n}-gram"] * len(text)) in tops


def test_good_prose_passes_with_english_thresholds():
    assert failed_rule(prose(), ENGLISH, frozenset({"and", "the", "of"})) is None


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("Four words are few.", "too few words"),
        ("word " * 100_001, "too many words"),
        ("\n".join([prose(1, lines=1)] * 4 + prose(2, lines=4).splitlines()), "repeated lines"),
        ("buy cheap pills " * 30, "top 2-gram"),
        ("one two three four " * 12 + prose(), "repeated 5-grams"),
        (prose().replace(".", ""), "punctuated lines"),
        (prose().replace(" ", ".\n"), "newlines per word"),
        (" ".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=300)) + ".", "short words"),
        (" ".join(word * 3 for word in prose().replace("\n", " ").split()), "long words"),
        (prose().replace(" ", " 12345 , "), "words with a letter"),
    ],
)
def test_each_adapted_rule_fires(page, reason):
    limits = ENGLISH if reason.startswith("too") else {reason: ENGLISH[reason]}
    assert failed_rule(page, limits, frozenset()) == reason
    assert failed_rule(prose(), limits, frozenset()) is None


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("\n".join([LONG, *prose(4).splitlines(), LONG]), "characters of repeated lines"),
        (prose() + " # a" * 40, "symbols"),
        (prose() + " and ... so" * 60, "symbols"),
        ("\n".join(f"- {line}" for line in prose().splitlines()), "bullets"),
        (prose().replace(".\n", "...\n"), "lines cut short"),
        (prose().replace(" and the ", " or the "), "stop words"),
    ],
)
def test_each_fixed_rule_fires(page, reason):
    assert failed_rule(page, {}, frozenset({"and", "the", "of"})) == reason
    assert failed_rule(prose(), {}, frozenset({"and", "the", "of"})) is None


def test_a_value_at_its_threshold_is_good():
    page = prose()
    values = measure(page)
    assert failed_rule(page, values, frozenset()) is None
    for name, statistic in STATISTICS.items():
        worse = values[name] + (-1e-9 if statistic.good == "below" else 1e-9)
        assert failed_rule(page, {name: worse}, frozenset()) == name
