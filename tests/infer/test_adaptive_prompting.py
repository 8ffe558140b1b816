"""The controller's transitions one by one, with a model that says what the test wants; its closed form; its budget."""

import itertools
import logging
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Items
from metier.core.evidence import prove
from metier.engines.generate.open import open_language_model
from metier.infer.adaptive_prompting import adaptive_prompting, calls_by_difficulty, plan, validator_rates
from metier.infer.reasoning_sets import coin_flip_items
from metier.models.language_model import Completion


class Spoken:
    """Answers by the kind of call, in the order given; the last answer of a kind comes again and again. `calls` keeps (kind,
    prompt, settings)."""

    name = "spoken"

    def __init__(self, **replies):
        self.replies = {kind: itertools.chain(words, itertools.repeat(words[-1])) for kind, words in replies.items()}
        self.calls = []

    def generate(self, prompts, **settings):
        return [self.reply(prompt, settings) for prompt in prompts]

    def reply(self, prompt, settings):
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        kind = (
            "understand" if "JSON object" in text else "repair" if text.startswith("Write this again") else "derive" if text.startswith("Compute")
            else "extract" if "Therefore, " in text else "think" if text.startswith("Q: ") else "solve"
        )  # fmt: skip
        self.calls.append((kind, text, settings))
        return Completion(next(self.replies[kind]), num_tokens=10)

    def score(self, requests):
        raise AssertionError("not asked for")

    score_texts = score

    @property
    def kinds(self):
        return [kind for kind, _, _ in self.calls]


def item(answer="19", *, task="gsm8k", chat=False, question="Tom has 12 marbles and gets 7. How many?"):
    common = {"role": "general", "kind": "generate", "options": [], "gold": -1, "source": ""}
    return Items.from_rows([{"id": "one", "task": task, "prompt": question, "answer": answer, "chat": chat} | common])


def solve(model, items=None, **settings):
    (row,) = adaptive_prompting(items if items is not None else item(), model, **settings).rows()
    return row


ONE, TWO, SIX = (f'{{"facts": ["12 marbles", "7 more"], "missing": [], "steps": {steps}}}' for steps in (1, 2, 6))
RIGHT, WRONG = "12 + 7 = 19\nResult: 19\nAnswer: 19", "12 + 7 = 20\nResult: 20\nAnswer: 20"


def test_an_easy_question_takes_two_calls():
    model = Spoken(understand=[ONE], solve=[RIGHT])
    row = solve(model)
    assert (row["found"], row["numerator"], row["stop"], row["calls"], row["difficulty"]) == ("19", 1, "answered", 2, 1)
    assert model.kinds == ["understand", "solve"]
    assert "- 12 marbles\n- 7 more" in model.calls[1][1] and "in one step" in model.calls[1][1]
    assert [settings["temperature"] for _, _, settings in model.calls] == [0, 0]


def test_a_step_follows_accepted_steps_until_one_states_the_answer():
    model = Spoken(understand=[TWO], solve=["12 + 0 = 12\nResult: 12", RIGHT])
    row = solve(model)
    assert (row["found"], row["calls"], row["steps"]) == ("19", 3, ["12 + 0 = 12 Result: 12", "12 + 7 = 19 Result: 19"])
    assert "Steps so far:\n1. 12 + 0 = 12 Result: 12\n" in model.calls[2][1] and "exactly the next step" in model.calls[2][1]


def test_a_refused_step_is_tried_again_with_the_reason_and_is_not_kept():
    model = Spoken(understand=[ONE], solve=[WRONG, RIGHT])
    row = solve(model)
    assert (row["found"], row["numerator"], row["calls"]) == ("19", 1, 3)
    assert "An attempt at this step was wrong: 12 + 7 = 20\nBecause: 12 + 7 is 19, so 12 + 7 = 20 is false" in model.calls[2][1]
    assert [settings["temperature"] for _, _, settings in model.calls] == [0, 0, 0.7]
    assert row["trace"] == ["pass 1 step 1 direct, 2 attempts, ok -> 19", "pass 1 answer '19' ok"]


def test_the_last_attempt_is_accepted_as_unverified_and_the_whole_starts_once_more():
    model = Spoken(understand=[ONE, TWO], solve=[WRONG, WRONG.replace("20", "21"), WRONG.replace("20", "22"), RIGHT])
    row = solve(model)
    assert model.kinds == ["understand", "solve", "solve", "solve", "understand", "solve"]
    assert "unverified" in row["trace"][0] and "22" in row["trace"][0]
    assert (row["answers"], row["found"], row["first_wrong"], row["stop"]) == (["22", "19"], "19", True, "answered")
    assert "An earlier solution was wrong: in step 1, 12 + 7 is 19, so 12 + 7 = 22 is false" in model.calls[4][1]
    assert (
        "in one step" in model.calls[2][1] and "exactly the next step" in model.calls[3][1]
    )  # smaller steps from the second refusal on


def test_there_is_one_restart_and_the_better_validated_answer_stands():
    model = Spoken(understand=[ONE], solve=["12 + 7 = 19\nResult: 19\nAnswer: 18", WRONG])
    row = solve(model, max_corrections=0)
    assert model.kinds == ["understand", "solve"] * 2
    assert (row["answers"], row["found"]) == (["18", "20"], "18")


def test_a_repeated_step_counts_as_wrong_and_ends_in_a_loop():
    model = Spoken(understand=[SIX], solve=["12 + 0 = 12\nResult: 12", "12 + 0 = 12. \nResult: 12"], extract=[" 12"])
    row = solve(model)
    assert (row["stop"], row["found"], row["steps"]) == ("loop", "12", ["12 + 0 = 12 Result: 12"])
    assert "it repeats step 1" in model.calls[3][1]


def test_results_that_alternate_end_the_corrections():
    model = Spoken(understand=[ONE], solve=[WRONG, WRONG.replace("20", "21")] * 5)
    solve(model, max_corrections=8, max_calls=50)
    assert model.kinds[:5] == ["understand", "solve", "solve", "solve", "understand"]


def test_a_step_that_cannot_be_read_is_asked_for_again_then_thought_through_plainly():
    repaired = Spoken(understand=[ONE], solve=["I think it is"], repair=[RIGHT])
    assert solve(repaired)["found"] == "19" and repaired.kinds == ["understand", "solve", "repair"]
    model = Spoken(understand=[ONE], solve=["I think it is"], repair=["really"], think=[" 12 and 7"], extract=[" 19."])
    row = solve(model)
    assert (row["stop"], row["found"], row["numerator"]) == ("unparsed", "19", 1)
    assert model.kinds == ["understand", "solve", "repair", "think", "extract"]
    assert model.calls[4][1].endswith("A: Let's think step by step. 12 and 7 \nTherefore, the answer (arabic numerals) is")


def test_an_understanding_that_cannot_be_read_means_three_steps():
    for words in ("no idea", '{"steps": "many"}', '{"steps": true}', '{"facts": [', "[" * 100_000):
        model = Spoken(understand=[words], solve=[RIGHT])
        assert solve(model)["difficulty"] == 3


def test_missing_facts_are_reported():
    model = Spoken(understand=['Well: {"facts": ["12"], "missing": ["how many he  gets"], "steps": 1} and so on'], solve=[RIGHT])
    assert solve(model)["missing"] == ["how many he gets"]


def test_without_a_stated_answer_it_is_asked_for_after_the_last_step():
    model = Spoken(understand=[ONE], solve=["12 + 1 = 13\nResult: 13", "13 + 6 = 19\nResult: 19"], extract=[" 19"])
    row = solve(model, max_steps=2)
    assert (row["found"], row["calls"], model.kinds[-1]) == ("19", 4, "extract")
    assert model.calls[-1][1].endswith(
        "12 + 1 = 13 Result: 13\n13 + 6 = 19 Result: 19 \nTherefore, the answer (arabic numerals) is"
    )


@pytest.mark.parametrize("most", range(1, 9))
def test_no_more_calls_are_made_than_the_budget_holds(most):
    model = Spoken(
        understand=[SIX], solve=[f"1 + {number} = {number + 1}\nResult: {number + 1}" for number in range(9)], extract=[" 9"]
    )
    row = solve(model, max_calls=most)
    assert row["calls"] == len(model.calls) == most
    assert (row["stop"], row["found"]) == ("budget", str(most - 1) if most > 1 else "")


def test_the_budget_follows_the_steps_expected_and_tokens_count():
    model = Spoken(understand=[ONE], solve=[WRONG])
    assert solve(model, max_corrections=20)["calls"] == 4 + 3
    row = solve(Spoken(understand=[SIX], solve=[f"1 + {n} = {n + 1}\nResult: {n + 1}" for n in range(9)]), max_tokens=25)
    assert (row["num_tokens"], row["stop"]) == (30, "budget")


def test_consistency_asks_twice_more_and_follows_the_majority():
    for others, trace in (
        (["Result: heads", "Result: tails"], "ok"),
        (["Result: tails", "Result: tails"], "unverified: two other attempts found tails, not heads"),
        (["Result: tails", "Result: edge"], "unsure: no two attempts agree"),
    ):
        model = Spoken(understand=[ONE], solve=["Result: heads\nAnswer: yes", *others], think=[""], extract=[" yes"])
        row = solve(model, item("yes", task="coin_flip"), max_corrections=0)
        assert f", {trace} -> heads" in row["trace"][0]
        assert len({settings["seed"] for _, _, settings in model.calls[1:4]}) == 3
        assert (row["solver_calls"], row["numerator"]) == (1, 1)


def test_a_model_as_validator_sees_the_sum_and_not_the_solution():
    model = Spoken(understand=[ONE], solve=[WRONG, RIGHT], derive=[" 19", " 19"], think=[""], extract=[" 19"])
    row = solve(model, validator="model")
    assert model.kinds == ["understand", "solve", "derive", "solve", "derive", "think", "extract"]
    assert model.calls[2][1].endswith("12 + 7 =") and "20" not in model.calls[2][1]
    assert (row["found"], row["numerator"]) == ("19", 1)


def test_arithmetic_says_nothing_where_there_is_none():
    model = Spoken(understand=[ONE], solve=["Result: heads\nAnswer: yes"])
    row = solve(model, item("yes", task="coin_flip"), validator="program")
    assert "unsure: no equation" in row["trace"][0] and "unsure" in row["trace"][1]
    assert row["numerator"] == 1


def test_chats_are_asked_in_messages():
    class Chat(Spoken):
        def reply(self, prompt, settings):
            assert [message["role"] for message in prompt] == ["user"]
            assert not prompt[0]["content"].endswith(("JSON:", "Step:"))
            return super().reply(prompt, settings)

    assert (
        solve(Chat(understand=[ONE], solve=["Step: 12 + 7 = 19\n**Result:** 19\n**Answer:** 19"]), item(chat=True))["numerator"]
        == 1
    )


def test_references_reach_no_prompt():
    asked = []
    for answer in ("19", "sesame"):
        model = Spoken(understand=[ONE], solve=[WRONG, RIGHT])
        solve(model, item(answer))
        asked.append(model.calls)
        assert "sesame" not in str(model.calls)
    assert asked[0] == asked[1]


def test_questions_run_side_by_side_and_keep_their_order():
    class Batched(Spoken):
        sizes = ()

        def generate(self, prompts, **settings):
            self.sizes = (*self.sizes, len(prompts))
            return [
                Completion(
                    ONE
                    if "JSON object" in prompt
                    else f"Result: {prompt.split('Give ')[1][0]}\nAnswer: {prompt.split('Give ')[1][0]}"
                )
                for prompt in prompts
            ]

    common = {"task": "gsm8k", "role": "general", "kind": "generate", "options": [], "gold": -1, "chat": False, "source": ""}
    many = Items.from_rows({"id": str(n), "prompt": f"Give {n}.", "answer": str(n)} | common for n in range(9))
    model = Batched()
    assert [row["found"] for row in adaptive_prompting(many, model).rows()] == [str(n) for n in range(9)]
    assert model.sizes == (9, 9)
    assert calls_by_difficulty(adaptive_prompting(many, model)) == {1: 2.0}


def test_a_validator_that_cannot_tell_is_warned_of(caplog):
    class Blind(Spoken):
        def reply(self, prompt, settings):
            return Completion(ONE if "JSON object" in prompt else f"Answer: {prompt.split('Give ')[1].split('.')[0]}")

    common = {
        "task": "last_letters",
        "role": "general",
        "kind": "generate",
        "options": [],
        "gold": -1,
        "chat": False,
        "source": "",
    }
    many = Items.from_rows({"id": str(n), "prompt": f"Give {n}.", "answer": str(n - n % 2)} | common for n in range(30))
    with caplog.at_level(logging.WARNING):
        adaptive_prompting(many, Blind(), validator="program")
    assert "refuses 0% of wrong first answers and 0% of right ones (30 items)" in caplog.text
    assert validator_rates([True, False, True, False], [False, False, True, True]) == (0.5, 0.5)
    assert validator_rates([True], [False]) == (1.0, None)


def test_the_closed_form_equals_numbers_worked_by_hand():
    found = plan(error=0.2, recall=0.9, false_alarm=0.05, steps=4)
    assert (found.step, round(found.calls, 4), round(found.answer, 4), round(found.answer_without, 4)) == (
        pytest.approx(0.96592),
        1.2684,
        0.8705,
        0.4096,
    )
    blind = plan(error=0.2, recall=0.5, false_alarm=0.5, steps=4)
    assert (blind.step, blind.calls) == (pytest.approx(0.8), pytest.approx(1.75))
    always = plan(error=0.3, recall=1, false_alarm=1, steps=1, corrections=5)
    assert (always.step, always.calls) == (pytest.approx(0.7), 6)


chances = st.floats(0.01, 0.99)


@given(chances, chances, chances, st.integers(1, 6))
def test_validation_pays_just_when_recall_is_above_false_alarms(error, recall, false_alarm, corrections):
    found = plan(error=error, recall=recall, false_alarm=false_alarm, steps=3, corrections=corrections)
    if abs(recall - false_alarm) > 1e-6:
        assert found.pays == (recall > false_alarm)
    rho = (1 - error) * false_alarm + error * recall
    if rho < 0.999:
        assert found.calls == pytest.approx((1 - rho ** (corrections + 1)) / (1 - rho))
    without = plan(error=error, recall=recall, false_alarm=false_alarm, steps=3, corrections=0)
    assert (without.step, without.calls) == (pytest.approx(1 - error), 1)


def test_the_controller_meets_the_closed_form():
    evidence = prove("infer.adaptive_prompting", quick=True)
    assert evidence.verdict == "exact", evidence.checks


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 0}, "max_steps=0"),
        ({"max_corrections": -1}, "max_corrections=-1"),
        ({"retry_temperature": 0.0}, "repeat the error"),
        ({"max_calls": 0}, "max_calls=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"answers_like": "nothing"}, "none of the twelve"),
    ],
)
def test_bad_settings_are_refused_before_any_call(settings, message):
    model = Spoken(solve=[RIGHT])
    with pytest.raises(ValueError, match=message):
        solve(model, **settings)
    with pytest.raises(ValueError, match="no items"):
        adaptive_prompting(Items.from_rows([]), model)
    with pytest.raises(ValueError, match="no chance"):
        plan(error=1.2, recall=0.5, false_alarm=0.5, steps=1)
    assert model.calls == []


def test_a_call_that_failed_is_wrong_and_too_many_are_an_error():
    class Broken(Spoken):
        def reply(self, prompt, settings):
            return Completion("", error="no answer")

    with pytest.raises(RuntimeError, match="1 of 1 questions failed"):
        solve(Broken())


def test_a_random_model_ends_in_some_answer_and_the_same_one_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    model, asked = open_language_model("tiny", dtype="float32", cache=False), coin_flip_items(num_items=1)
    first, again = (list(adaptive_prompting(asked, model, max_step_tokens=6, max_calls=3).rows()) for _ in range(2))
    assert first == again
    assert all(row["calls"] <= 3 and len(row["transcript"]) == row["calls"] for row in first)


@given(st.randoms(use_true_random=False))
def test_whatever_a_model_says_the_controller_ends_within_its_budget(generator: random.Random):
    words = ["Step:", "Result:", "Answer:", "12", "+", "7", "=", "19", "{", '"steps": 2', "}", "\n", "yes", "(", "="]

    class Noise(Spoken):
        def reply(self, prompt, settings):
            self.calls.append((prompt, settings))
            return Completion(" ".join(generator.choices(words, k=generator.randint(0, 12))), num_tokens=1)

    model = Noise()
    row = solve(model, max_calls=12)
    assert row["calls"] == len(model.calls) <= 12
    assert row["stop"] in ("answered", "budget", "loop", "unparsed")
