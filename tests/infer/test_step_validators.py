"""What exact arithmetic says of steps written by hand, and how replies of several forms are read."""

import pytest

from metier.infer.step_prompts import Parsed, family_of, finer, normalised, read_step, read_understanding
from metier.infer.step_validators import judge_arithmetic, same_result


@pytest.mark.parametrize(
    ("text", "result", "kind", "reason"),
    [
        ("12 + 7 = 19", "19 marbles", "ok", ""),
        ("12 + 7 = 20", "20", "wrong", "12 + 7 is 19, so 12 + 7 = 20 is false"),
        ("12 + 7 = 19", "20", "wrong", "the result 20 is not the value of 12 + 7 = 19, which is 19"),
        ("2 * 3 = 6 and 6 + 1 = 7", "7", "ok", ""),
        ("2 * 3 = 6 and 6 + 1 = 7", "6", "ok", ""),  # a step may report the value that was asked for, not its last one
        ("10 / 4 = 2.4", "2.4", "wrong", "10 / 4 is 2.5, so 10 / 4 = 2.4 is false"),
        ("he pays 3 dollars", "3", "unsure", "no equation to compute"),
        ("12 + 7 = 19", "many", "ok", ""),
        ("", "12 + 7 = 19", "ok", ""),
    ],
)
def test_arithmetic_judges_a_step(text, result, kind, reason):
    assert judge_arithmetic(Parsed(text, result, "")) == (kind, reason)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("Step: add them, 2 + 3 = 5\nResult: 5", ("add them, 2 + 3 = 5", "5", "")),
        (" add them\nResult: 5\nAnswer: 5 apples", ("add them", "5", "5 apples")),
        ("**Step 1:** add\n**Result:** 5\nFinal answer: 5", ("add", "5", "5")),
        ("Step: one\nResult: 1\nStep: two\nResult: 2", ("one", "1", "")),
        ("Answer: yes", ("", "yes", "yes")),
        ("first this\nthen 2 + 3 = 5 apples", ("first this then 2 + 3 = 5 apples", "5", "")),
        ("nothing to see", None),
        ("Result:", None),
        ("", None),
    ],
)
def test_replies_are_read(reply, read):
    assert read_step(reply) == read


def test_an_understanding_is_bounded():
    found = read_understanding('Sure. {"steps": 99, "facts": ["a", {"no": 1}, 7], "missing": "nothing"}', max_steps=8)
    assert (found.num_steps, found.facts, found.missing, found.parsed) == (8, ["a", "7"], [], True)
    assert read_understanding('{"steps": 0}', max_steps=2).num_steps == 2
    assert not read_understanding('{"steps": 0}', max_steps=2).parsed


def test_families_follow_the_number_of_steps():
    assert [family_of(steps) for steps in (1, 2, 4, 5)] == ["direct", "stepwise", "stepwise", "decompose"]
    assert [finer("direct"), finer("stepwise"), finer("decompose")] == ["stepwise", "decompose", "decompose"]


def test_results_are_compared_by_value_else_by_words():
    assert same_result("$19.", "19.0 dollars") and same_result("Heads up!", "heads up")
    assert not same_result("19", "20") and not same_result("heads", "tails")
    assert same_result("12 + 7 = 19", "19")
    assert normalised("12 + 0 = 12. ") == normalised("12 + 0  =  12") != normalised("12 + 0 = 1.2")
