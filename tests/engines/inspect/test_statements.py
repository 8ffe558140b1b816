"""Pairs line up, worked by hand with one token a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from metier.engines.inspect.statements import (
    QUESTION,
    Statement,
    answers_of,
    encode,
    examples_of,
    examples_text,
    pair,
)
from metier.models.source import open_model

WORDS = "The city of is in This statement Rome Oslo Bari Tartu Italy Norway Estonia San Marino . : TRUE FALSE True False".split()


def word_tokenizer(*words):
    """One token a word and punctuation mark, the space before a word part of nothing."""
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(["?", *words])}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?")


@pytest.fixture(scope="module")
def words():
    return word_tokenizer(*WORDS)


def statement(city, country, is_true, source="cities"):
    return Statement(f"The city of {city} is in {country}.", is_true, source)


def test_a_prompt_says_where_its_statement_and_its_last_word_are(words):
    prompt = encode(words, "Rome Rome Rome ", "The city of San Marino is in Italy.")
    assert (prompt.begin, prompt.period, prompt.word) == (3, 11, (10, 11))
    assert words.convert_ids_to_tokens(prompt.ids[prompt.period]) == "."
    assert words.convert_ids_to_tokens(prompt.ids[-1]) == ":"


@given(st.text(alphabet="abcdeé日 ", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_places_hold_for_any_text_in_a_byte_tokenizer(text):
    tokenizer = open_model("tiny").tokenizer()
    prompt = encode(tokenizer, "before\n", f"{text}.")
    assert tokenizer.decode(prompt.ids[: prompt.begin]) == "before\n"
    assert tokenizer.decode(prompt.ids[prompt.begin : prompt.period + 1]) == f"{text}."
    assert tokenizer.decode(prompt.ids[prompt.period + 1 :]) == QUESTION


def test_answers_are_words_of_one_token_that_differ(words, caplog):
    found = answers_of(words)
    assert (found.true_word, found.false_word) == (" TRUE", " FALSE")
    assert words.convert_ids_to_tokens([found.true_token, found.false_token]) == ["TRUE", "FALSE"]
    # The words TRUE and FALSE are unknown, both the same token: the next pair is taken.
    assert answers_of(word_tokenizer("This", "True", "False")).true_word == " True"
    with pytest.raises(ValueError, match="alike"):
        answers_of(word_tokenizer("This"))
    tiny = answers_of(open_model("tiny").tokenizer())
    assert tiny.true_token != tiny.false_token
    assert "which are several" in caplog.text


def test_examples_are_half_true_and_are_shown_with_their_verdicts(words):
    known = [statement(city, "Italy", city in "Rome Bari") for city in "Rome Bari Oslo Tartu".split()]
    drawn = examples_of(known, 2, seed=1)
    assert sorted(one.is_true for one in drawn) == [False, True]
    text = examples_text(drawn, answers_of(words))
    assert text.count("\n") == 2 and text.count(" TRUE\n") == text.count(" FALSE\n") == 1
    with pytest.raises(ValueError, match="need 3"):
        examples_of(known, 6, seed=0)


KNOWN = [
    statement("Rome", "Italy", True),
    statement("Bari", "Italy", True),
    statement("Oslo", "Italy", False),
    statement("San Marino", "Italy", False),
    statement("Oslo", "Norway", True),
    statement("Rome", "Norway", False),
    statement("Tartu", "Estonia", True),
]
EXAMPLES = [statement("Oslo", "Estonia", False), statement("Bari", "Norway", False)]


def test_pairs_share_their_last_word_and_differ_in_one_place(words):
    found = pair(words, KNOWN, EXAMPLES, answers_of(words), num_pairs=9, min_pairs=2, seed=0)
    texts = {(words.decode(true), words.decode(false)) for true, false in zip(found.true_ids, found.false_ids, strict=True)}
    end = "This statement is :"
    assert len(found.true_ids) == 2
    assert (f"The city of Oslo is in Norway . {end}", f"The city of Rome is in Norway . {end}") in texts
    assert all(false == f"The city of Oslo is in Italy . {end}" for true, false in texts if "Italy" in true)
    assert found.columns == ["template"] * 3 + ["subject"] + ["template"] * 2 + ["object"] + ["template"] * 5
    # One of Rome and Bari is left for San Marino, whose length fits nothing; Tartu has nobody.
    assert found.skipped == {
        "no partner of the same last word and length": 2,
        "another frame, or no partner left": 1,
        "beyond num_pairs": 0,
    }
    assert words.decode(found.prefix) == words.decode(words(examples_text(EXAMPLES, answers_of(words)))["input_ids"])


def test_statements_of_the_examples_are_in_no_pair_and_few_pairs_are_refused(words):
    with pytest.raises(ValueError, match=r"^1 pairs .* a map needs 2"):
        pair(words, KNOWN, [KNOWN[5], KNOWN[4]], answers_of(words), num_pairs=9, min_pairs=2, seed=0)
    limited = pair(words, KNOWN, EXAMPLES, answers_of(words), num_pairs=1, min_pairs=1, seed=0)
    assert len(limited.true_ids) == 1 and limited.skipped["beyond num_pairs"] == 2


def test_statements_of_another_form_are_in_no_pair_though_their_lengths_agree(words):
    other = [Statement(f"This city of {city} is in Norway.", False, "cities") for city in "Bari Oslo Rome Tartu".split()]
    found = pair(words, [*KNOWN, *other], EXAMPLES, answers_of(words), num_pairs=9, min_pairs=2, seed=0)
    assert all(words.decode(ids).startswith("The city of") for ids in found.true_ids + found.false_ids)
    assert len(found.true_ids) == 2
