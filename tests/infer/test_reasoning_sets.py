"""The twelve sets against the paper's wording; generated questions against a solver that reads them anew."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.infer.reasoning_sets import (
    SETS,
    choice_question,
    coin_flip_items,
    last_letters_items,
    number_answer,
    reasoning_items,
    reasoning_set,
)


def test_the_twelve_sets_are_those_of_the_paper():
    assert len(SETS) == 12
    sentences = {name: f"{one.sentence} | {one.form.kind} {one.form.letters}".strip() for name, one in SETS.items()}
    assert sentences["gsm8k"] == sentences["svamp"] == "the answer (arabic numerals) is | number"
    assert sentences["aqua"] == sentences["commonsensqa"] == "among A through E, the answer is | letter ABCDE"
    assert sentences["bigbench_date"] == "among A through F, the answer is | letter ABCDEF"
    assert sentences["object_tracking"] == "among A through C, the answer is | letter ABC"
    assert sentences["strategyqa"] == sentences["coin_flip"] == "the answer (Yes or No) is | yes/no"
    assert sentences["last_letters"] == "the answer is | string"


def test_an_unknown_set_is_answered_with_the_nearest_and_the_list():
    with pytest.raises(ValueError, match=r"'gsm8'.*did you mean 'gsm8k'\?.*addsub, multiarith"):
        reasoning_set("gsm8")
    with pytest.raises(ValueError, match="They are gsm8k"):
        reasoning_set("mmlu")


def solve_coin(question):
    flips = len(re.findall(r"\. \w+ flips the coin", question))
    assert flips + question.count("does not flip the coin") == 4
    return "yes" if flips % 2 == 0 else "no"


def solve_letters(question):
    return "".join(word[-1] for word in re.search(r'"(.*)"', question)[1].split())


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6))
def test_a_solver_agrees_with_every_generated_answer(seed):
    coins, letters = list(coin_flip_items(seed=seed).rows()), list(last_letters_items(seed=seed).rows())
    assert all(solve_coin(row["prompt"]) == row["answer"] for row in coins)
    assert all(solve_letters(row["prompt"]) == row["answer"] for row in letters)
    assert len({row["prompt"] for row in coins}) == len({row["prompt"] for row in letters}) == 500
    assert 0.4 < sum(row["answer"] == "yes" for row in coins) / 500 < 0.6


def test_the_seed_alone_decides_the_questions():
    first, again, other = (list(coin_flip_items(num_items=20, seed=seed).rows()) for seed in (1, 1, 2))
    assert first == again != other
    assert re.fullmatch(
        r'A coin is heads up\.( \w+ (flips|does not flip) the coin\.){4} Is the coin still heads up\? Note that "flip" here means "reverse"\.',
        first[0]["prompt"],
    )


def test_too_many_questions_of_too_few_names_are_refused():
    with pytest.raises(ValueError, match="give more names"):
        last_letters_items(num_items=500, words=1)
    with pytest.raises(ValueError, match="give 1 to that many"):
        coin_flip_items(people=0)


def test_choices_are_put_as_each_set_puts_them():
    assert choice_question("aqua", "2+2?", ["3", "4"], 1) == ("2+2? Answer Choices: (A) 3 (B) 4", "B")
    question, letter = choice_question("object_tracking", "Who?", ["x", "y", "z"], 2)
    assert (question, letter) == ("Who?\nWhich choice is true ? Answer Choices: (A) x (B) y (C) z", "C")
    with pytest.raises(ValueError, match="it has the letters ABC"):
        choice_question("object_tracking", "Who?", ["x", "y", "z", "w"], 0)


def test_date_choices_are_shuffled_by_the_seed_and_the_letter_follows():
    asked = [choice_question("bigbench_date", f"Day {number}?", list("uvwxyz"), 0) for number in range(200)]
    assert asked == [choice_question("bigbench_date", f"Day {number}?", list("uvwxyz"), 0) for number in range(200)]
    assert asked != [choice_question("bigbench_date", f"Day {number}?", list("uvwxyz"), 0, seed=2) for number in range(200)]
    assert all(f"({letter}) u" in question for question, letter in asked)
    assert {letter for _, letter in asked} == set("ABCDEF")


@pytest.mark.parametrize(("reference", "answer"), [(39.0, "39"), ("0.5", "0.5"), ("a #### b\n#### 1,234", "1,234"), (7, "7")])
def test_reference_numbers_are_written_as_the_authors_write_them(reference, answer):
    assert number_answer(reference) == answer


def test_rows_become_items():
    (row,) = reasoning_items("gsm8k", [{"question": " How many? ", "answer": "2+2\n#### 4"}]).rows()
    assert (row["id"], row["task"], row["prompt"], row["answer"]) == ("gsm8k-0000", "gsm8k", "How many?", "4")
    (row,) = reasoning_items("commonsensqa", [{"question": "Where?", "choices": ["a", "b"], "answer": 1}]).rows()
    assert (row["prompt"], row["answer"]) == ("Where? Answer Choices: (A) a (B) b", "B")
    with pytest.raises(ValueError, match="row 1 has no question"):
        reasoning_items("gsm8k", [{"question": "?", "answer": 1}, {"question": "", "answer": 1}])
