"""Scores of single items, by hand: models that answer what the test says."""

import logging
import math
from dataclasses import dataclass, field

import pytest

from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure, normalised, summarise
from metier.models.language_model import Completion, Score


@dataclass
class Oracle:
    """Answers from tables, as a LanguageModel does: log-probabilities by continuation, words by prompt."""

    logprobs: dict[str, float] = field(default_factory=dict)
    words: dict[str, Completion] = field(default_factory=dict)
    name: str = "oracle"
    seen: list = field(default_factory=list)

    def score(self, requests):
        self.seen += requests
        return [Score(self.logprobs[option], len(option.split()), len(option.encode())) for _, option in requests]

    def score_texts(self, texts):
        return [Score(self.logprobs[text], len(text.split()), len(text.encode())) for text in texts]

    def generate(self, prompts, **settings):
        self.seen.append(settings)
        return [self.words[prompt if isinstance(prompt, str) else prompt[0]["content"]] for prompt in prompts]


def asked(model, *items, **settings):
    return list(measure(model, items_table(items), **settings).rows())


def test_options_are_divided_by_their_bytes_with_the_space_before_them():
    # " a" has 2 bytes, " bcde" 5: -4 / 2 = -2 loses to -9 / 5 = -1.8, though -4 is more than -9
    item = Item("q", "t", "general", "choice", "Which?", ["a", "bcde"], 1)
    model = Oracle({" a": -4.0, " bcde": -9.0})
    assert [asked(model, item, norm=norm)[0]["chosen"] for norm in ("bytes", "tokens", "none")] == [1, 0, 0]
    (row,) = asked(model, item)
    assert (row["numerator"], row["denominator"], row["num_bytes"], row["logprobs"]) == (1.0, 1.0, [2, 5], [-4.0, -9.0])
    assert model.seen[0] == ("Which?", " a")


def test_a_prompt_that_ends_in_space_is_followed_by_none():
    model = Oracle({"a": -1.0, "b": -2.0})
    asked(model, Item("q", "t", "general", "choice", "Title\n\n", ["a", "b"], 0))
    assert model.seen == [("Title\n\n", "a"), ("Title\n\n", "b")]


def test_a_tie_is_wrong():
    model = Oracle({" a": -2.0, " b": -2.0})
    for gold in (0, 1):
        assert asked(model, Item("q", "t", "general", "choice", "Which?", ["a", "b"], gold))[0]["numerator"] == 0.0


def test_sentences_without_a_prompt_are_compared_as_a_whole():
    # divided by bytes the longer one would win: -10.2 / 12 > -10 / 11
    model = Oracle({"They sings.": -10.0, "They sang it": -10.2})
    item = Item("q", "t", "general", "choice", "", ["They sings.", "They sang it"], 0)
    for norm in ("bytes", "tokens", "none"):
        assert asked(model, item, norm=norm)[0]["chosen"] == 0
    model.logprobs |= {" They sings.": -9.0, " They sang it": -20.0}  # what "unconditional" asks besides
    assert asked(model, item, norm="unconditional")[0]["chosen"] == 0


def test_texts_give_bits_and_bytes():
    (row,) = asked(Oracle({"né": -3 * math.log(2)}), Item("t", "t", "held_out", "text", "né"))
    assert (row["numerator"], row["denominator"]) == (pytest.approx(3.0), 3.0)
    (estimate,) = summarise(measure(Oracle({"né": -3 * math.log(2)}), items_table([Item("t", "t", "held_out", "text", "né")])))
    assert estimate.value == pytest.approx(1.0)
    assert estimate.chance is None


@pytest.mark.parametrize("logprob", [float("nan"), float("-inf")])
def test_scores_that_are_no_numbers_are_refused(logprob):
    with pytest.raises(ValueError, match="item 'q': the model's log-probabilities"):
        asked(Oracle({" a": logprob, " b": -1.0}), Item("q", "t", "general", "choice", "Which?", ["a", "b"], 1))
    with pytest.raises(ValueError, match="item 't': the model's log-probabilities"):
        asked(Oracle({"x": logprob}), Item("t", "t", "held_out", "text", "x"))


def says(number, **failed):
    items = [Item(f"g{i}", "t", "general", "generate", f"Say {i}:", answer=str(i), chat=i % 2 == 0) for i in range(number)]
    words = {item.prompt: Completion(f" {item.answer}. ") for item in items}
    return items, Oracle(words=words | {f"Say {name[1:]}:": Completion("", error=why) for name, why in failed.items()})


def test_a_failed_answer_is_wrong_kept_and_named(caplog):
    items, model = says(20, g7="the server said no")
    with caplog.at_level(logging.WARNING):
        rows = asked(model, *items)
    assert (len(rows), sum(row["numerator"] for row in rows)) == (20, 19)
    assert {row["item"]: row["failure"] for row in rows if row["failure"] is not None} == {"g7": "the server said no"}
    assert "1 of 20 answers failed and count as wrong; the first: the server said no" in caplog.text


def test_too_many_failed_answers_give_no_value():
    items, model = says(20, g7="no", g8="no")
    with pytest.raises(RuntimeError, match="2 of 20 answers failed"):
        asked(model, *items)


def test_an_answer_of_several_lines_is_not_cut_at_the_first():
    model = Oracle(words={"List:": Completion("one\ntwo")})
    assert asked(model, Item("g", "t", "general", "generate", "List:", answer="one\ntwo"))[0]["numerator"] == 1.0
    assert model.seen[0]["stop"] == []


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (' "Green." ', "green"),
        ('"Green".', "green"),
        ("two\n words!", "Two words"),
        ("**yes**", "YES"),
        ("“Straße”", "strasse"),
        ("3.5", "3.5"),
    ],
)
def test_answers_are_compared_without_what_does_not_count(answer, same):
    assert normalised(answer) == normalised(same)


@pytest.mark.parametrize(("answer", "other"), [("C++", "C"), ("-5", "5"), ("10%", "10"), ("f()", "f"), ("3.5", "35")])
def test_signs_that_belong_to_an_answer_count(answer, other):
    assert normalised(answer) != normalised(other)


def test_nothing_to_ask_and_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="no items"):
        asked(Oracle())
    table = items_table([Item("q", "t", "general", "text", "x")]).frame()
    import daft

    from metier.artifacts import Items

    with pytest.raises(ValueError, match=r"kinds \['essay'\] cannot be asked"):
        measure(Oracle(), Items(table.with_column("kind", daft.lit("essay"))))
