"""What counts as a right answer in words, whatever else is asked, and what has no value at all."""

import pytest

from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure, normalised
from metier.models.language_model import Completion, Score


class Says:
    """A model that says what it is told to, a byte a token (the most tokens a text can have), and heeds limit and stops."""

    name = "says"

    def __init__(self, said):
        self.said = said

    def generate(self, prompts, *, max_new_tokens=256, stop=(), **_):
        completions = []
        for prompt in prompts:
            text = self.said[prompt]
            for end in stop:
                text = text.partition(end)[0]
            completions.append(Completion(text.encode()[:max_new_tokens].decode(errors="ignore")))
        return completions

    def score(self, requests):
        return [Score(-1.0, 1, 1) for _ in requests]

    def score_texts(self, texts):
        return [Score(-1.0, 1, len(text.encode())) for text in texts]


def asked(answers, said=None):
    items = [Item(f"i{i}", "t", "general", "generate", f"p{i}", answer=answer) for i, answer in enumerate(answers)]
    said = {f"p{i}": text for i, text in enumerate(said or answers)}
    return [row["numerator"] for row in measure(Says(said), items_table(items)).rows()]


LONG = ["river", "1234567890123456", "internationalization", "機械学習は人工知能の一分野である", "first\nsecond"]


def test_no_right_answer_is_cut_off_whatever_its_length_or_script():
    assert asked(LONG) == [1.0] * len(LONG)


def test_a_model_that_rambles_on_is_judged_the_same_whatever_else_is_asked():
    rambling = "river\nInstruction: Say more."
    assert asked(["river"], [rambling]) == [1.0]
    assert asked(["river", "first\nsecond", "x" * 90], [rambling, "first\nsecond", "y"]) == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(("one", "other"), [("C++", "C#"), ("", "?"), ("5%", "5")])
def test_answers_that_differ_in_a_sign_alone_differ(one, other):
    assert normalised(one) != normalised(other)


def test_an_accent_counts_the_same_however_it_is_encoded():
    assert normalised("caf\u00e9") == normalised("cafe\u0301")


def test_a_task_of_two_kinds_has_no_value_and_an_empty_text_no_bits_per_byte():
    text = Item("a", "t", "general", "text", "hello")
    with pytest.raises(ValueError, match="task 't' holds items of kind text and choice"):
        measure(Says({}), items_table([text, Item("b", "t", "general", "choice", "p", ["x", "y"], 0)]))
    with pytest.raises(ValueError, match="'e' is an empty text"):
        measure(Says({}), items_table([text, Item("e", "t", "general", "text", "")]))
