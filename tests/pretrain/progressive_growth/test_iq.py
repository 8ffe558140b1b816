"""Questions of the IQ kind: a solver that reads only the prompt answers all, answers to other questions almost none, and grading is exact."""

import re
from collections import Counter

import pytest

from metier.models.language_model import Completion
from metier.pretrain.progressive_growth.iq import MAKERS, Question, grades, iq, questions


def solve(prompt):
    """Every ability from the prompt alone, written apart from the generator."""
    shown = re.findall(r"Input: (.*)\nOutput: (.*)\n", prompt)
    last = re.findall(r"Input: (.*)\nOutput:$", prompt)
    if "uppercase letters" in prompt:
        return last[0].upper()
    if match := re.match(r"Replace the word (\w+) by (\w+)\.", prompt):
        return re.sub(rf"\b{match[1]}\b", match[2], last[0])
    if match := re.search(r"How many times is (\w+) named", prompt):
        return str(Counter(re.findall(r"a (\w+)", prompt.split("\n")[0]))[match[1]])
    if match := re.search(r"The value of (\w+) is$", prompt):
        return re.search(rf"The value of {match[1]} is (\d+\.)", prompt)[1]
    if match := re.search(r"Where is (the )?(\w+)\?", prompt):
        holder = re.search(rf"(\w+) took the {match[2]}", prompt)[1] if match[1] else match[2]
        return re.findall(rf"{holder} went to the (\w+)", prompt)[-1]
    if all(output == before + before for before, output in shown):
        return last[0] * 2
    if all(before.startswith(output) for before, output in shown):
        return last[0][: len(shown[0][1])]
    head, tail = shown[0][1].split(shown[0][0])
    return head + last[0] + tail


class Solver:
    name = "solver"

    def generate(self, prompts, *, max_new_tokens, stop):
        return [Completion(f" {solve(prompt)}\n") for prompt in prompts]


def test_a_solver_is_always_right():
    found = iq(Solver(), num_items=50, noise_lines=10)
    assert [grade.ability for grade in found] == list(MAKERS)
    assert all(grade.accuracy == grade.high == 1 and grade.unparsed == 0 for grade in found)
    assert found[0].low == pytest.approx(0.025 ** (1 / 50))  # Clopper and Pearson's interval of all


def test_answers_of_other_questions_score_at_chance():
    for ability in MAKERS:
        asked = questions(ability, 300)
        grade = grades(asked, [question.answer for question in [*asked[1:], asked[0]]])[0]
        chance = {"one_fact": 1 / 6, "two_facts": 1 / 6, "counting": 0.2}.get(ability, 0.0)
        assert abs(grade.accuracy - chance) < 0.1, ability


def test_replies_are_read_strictly():
    asked = Question("counting", "", "3", r"\d+")
    replies = ["3", " 3\nand more", "three", "It is 3", "4"]
    grade = grades([asked] * 5, replies)[0]
    assert (grade.accuracy, grade.unparsed) == (0.4, 0.4)


def test_noise_and_seed_change_the_questions_and_nothing_else_does():
    assert questions("key_retrieval", 3) == questions("key_retrieval", 5)[:3]
    assert questions("key_retrieval", 3) != questions("key_retrieval", 3, seed=1)
    assert len(questions("one_fact", 1, noise_lines=50)[0].prompt) > 3 * len(questions("one_fact", 1, noise_lines=5)[0].prompt)


@pytest.mark.parametrize(("arguments", "words"), [(("juggling", 3), "'juggling' is unknown"), (("counting", 0), "num_items=0")])
def test_bad_questions_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        questions(*arguments)


def test_a_model_that_fails_to_answer_is_no_zero():
    class Broken:
        name = "broken"

        def generate(self, prompts, **_):
            return [Completion("", error="connection refused") for _ in prompts]

    with pytest.raises(ValueError, match="connection refused"):
        iq(Broken(), abilities=["counting"], num_items=2)
