"""Prompts, two calls and scores: against the authors' logs where they are at hand, else against dialogues written by hand."""

import re
from pathlib import Path

import pytest

from metier.artifacts import Items
from metier.engines.generate.open import open_language_model
from metier.infer.reasoning_sets import SETS, coin_flip_items, reasoning_items
from metier.infer.zero_shot_cot import answer_prompt, commonest, reasoning_prompt, right, summarise, zero_shot_cot
from metier.models.language_model import Completion, Score

LOGS = Path(__file__).parents[2].parent / "shared" / "data" / "zero_shot_cot_logs"
RECORD = re.compile(
    r"1_th_sampling\n(.*?)\npred_before : (.*?)\npred_after : (.*?)\npred_list : .*?\nGT : (.*?)\n\*{5}", re.DOTALL
)

# records, empty answers, accuracy in percent as in the paper's table
TABLE = {
    "gsm8k_zero_shot": (1319, 4, 10.4),
    "gsm8k_zero_shot_cot": (1319, 43, 40.7),
    "addsub_zero_shot": (395, 1, 72.2),
    "addsub_zero_shot_cot": (395, 6, 69.6),
    "singleeq_zero_shot": (508, 1, 74.6),
    "singleeq_zero_shot_cot": (508, 8, 78.0),
    "aqua_zero_shot": (254, 1, 22.4),
    "aqua_zero_shot_cot": (254, 2, 33.5),
    "coin_flip_zero_shot": (500, 375, 12.8),
    "coin_flip_zero_shot_cot": (500, 0, 91.4),
    "last_letters_zero_shot": (500, 0, 0.2),
    "last_letters_zero_shot_cot": (500, 0, 57.6),
}
needs_logs = pytest.mark.skipif(
    not LOGS.is_dir(), reason="the authors' logs are not beside the checkout (shared/data/zero_shot_cot_logs)"
)


class Recorded:
    """Answers from a table of prompts; a prompt that is not in it is an error of the test."""

    name = "recorded"

    def __init__(self, replies):
        self.replies, self.calls = replies, []

    def generate(self, prompts, **settings):
        self.calls.append((list(prompts), settings))
        return [Completion(self.replies[str(prompt)], num_tokens=1) for prompt in prompts]

    def score(self, requests):
        return [Score(self.replies[context, continuation], 1, 1) for context, continuation in requests]

    def score_texts(self, texts):
        raise AssertionError("not asked for")


def items(pairs, task, *, chat=False):
    common = {"task": task, "role": "general", "kind": "generate", "options": [], "gold": -1, "chat": chat, "source": ""}
    return Items.from_rows({"id": f"{task}-{place}", "prompt": q, "answer": a} | common for place, (q, a) in enumerate(pairs))


@needs_logs
@pytest.mark.parametrize("name", TABLE)
def test_the_authors_logs_are_reproduced_record_by_record(name):
    """The log's words are given for the prompts that the log shows, so a prompt that differs in one character fails."""
    text = (LOGS / f"{name}.log").read_text(encoding="utf-8")
    task, cot = name.partition("_zero_shot")[0], name.endswith("_cot")
    records, replies, asked = RECORD.findall(text), {}, []
    sentence = re.search(r"direct_answer_trigger='\\n(.*?)'", text)[1]  # as the log's own settings give it
    for whole, before, _, expected in records:
        question = whole.removeprefix("Q: ").partition("\nA: ")[0]
        asked.append((question, expected))
        if cot:
            start = f"Q: {question}\nA: Let's think step by step."
            thought, found, _ = whole.removeprefix(start).partition(f" \n{sentence}")
            replies |= {start: thought, f"{start}{thought}{found}": before}
        else:
            plain = sentence.removeprefix("Therefore, ")
            replies[f"Q: {question}\nA: {plain[0].upper()}{plain[1:]}"] = before
        assert all(whole.startswith(prompt) for prompt in list(replies)[-2 if cot else -1 :])
    scores = zero_shot_cot(items(asked, task), Recorded(replies), **({} if cot else {"trigger": None}))
    rows = list(scores.rows())
    wrong = [(row["found"], after) for row, (_, _, after, _) in zip(rows, records, strict=True) if row["found"] != after]
    assert wrong == []
    num_records, empty, accuracy = TABLE[name]
    assert (len(rows), sum(not row["parsed"] for row in rows)) == (num_records, empty)
    found = summarise(scores)[task]
    assert found.accuracy * 100 == pytest.approx(float(re.search(r"^accuracy : (.*)$", text, re.MULTILINE)[1]), abs=1e-12)
    assert round(found.accuracy * 100, 1) == pytest.approx(accuracy)
    numeric = {"gsm8k_zero_shot_cot": 41.09, "singleeq_zero_shot_cot": 78.54}
    if name in numeric:
        assert round(found.accuracy_numeric * 100, 2) == numeric[name]
    if name == "coin_flip_zero_shot":
        assert round(found.accuracy_parsed * 100) == 51 and found.unparsed == 0.75


DIALOGUE = {
    "Q: 2+3?\nA: Let's think step by step.": " 2 and 3.",
    "Q: 2+3?\nA: Let's think step by step. 2 and 3. \nTherefore, the answer (arabic numerals) is": " 5.",
    "Q: 1+1?\nA: Let's think step by step.": "",
    "Q: 1+1?\nA: Let's think step by step. \nTherefore, the answer (arabic numerals) is": " unknown",
    "Q: 900+100?\nA: Let's think step by step.": " Hm",
    "Q: 900+100?\nA: Let's think step by step. Hm \nTherefore, the answer (arabic numerals) is": " 1,000.0",
    "Q: 2+3?\nA: The answer (arabic numerals) is": " 6",
}


def test_two_calls_and_three_numbers():
    model = Recorded(DIALOGUE)
    asked = items([("2+3?", "5"), ("1+1?", "2"), ("900+100?", "1,000")], "multiarith")
    scores = zero_shot_cot(asked, model)
    assert [(row["found"], row["parsed"], row["numerator"]) for row in scores.rows()] == [
        ("5", True, 1),
        ("", False, 0),
        ("1000.0", True, 0),
    ]
    found = summarise(scores)["multiarith"]
    assert found == (3, pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(1 / 2), pytest.approx(1 / 3), 0)
    assert [settings["max_new_tokens"] for _, settings in model.calls] == [128, 32]
    assert [settings.get("temperature", 0) for _, settings in model.calls] == [0, 0]
    numeric = zero_shot_cot(asked, Recorded(DIALOGUE), compare="numeric")
    assert [row["numerator"] for row in numeric.rows()] == [1, 0, 1]


def test_without_a_trigger_there_is_one_call():
    model = Recorded(DIALOGUE)
    (row,) = zero_shot_cot(items([("2+3?", "5")], "gsm8k"), model, trigger=None).rows()
    assert (row["found"], row["numerator"], row["reasonings"], len(model.calls)) == ("6", 0, [""], 1)


def test_chats_get_the_chain_back_as_a_turn_and_are_marked():
    class Chat(Recorded):
        def generate(self, prompts, **settings):
            self.calls.append((list(prompts), settings))
            return [Completion("so 5")] * len(prompts)

    model = Chat({})
    (row,) = zero_shot_cot(items([("2+3?", "5")], "gsm8k", chat=True), model).rows()
    (first, _), (second, _) = model.calls
    assert first == [[{"role": "user", "content": "Q: 2+3?\nA: Let's think step by step."}]]
    assert [turn["role"] for turn in second[0]] == ["user", "assistant", "user"]
    assert second[0][1]["content"] == "so 5" and second[0][2]["content"] == "Therefore, the answer (arabic numerals) is"
    assert (row["comparable"], row["numerator"]) == (False, 1)


def test_the_commonest_of_several_chains_counts():
    class Drawn(Recorded):
        def generate(self, prompts, *, seed=0, temperature=0.0, **settings):
            return [
                Completion(f" seed {seed}" if temperature else {"0": " 7", "1": " 8", "2": " 8"}[prompts[0].split("seed ")[1][0]])
            ]

    (row,) = zero_shot_cot(items([("?", "8")], "gsm8k"), Drawn({}), num_samples=3, temperature=0.7).rows()
    assert (row["answers"], row["found"], row["numerator"]) == (["7", "8", "8"], "8", 1)
    assert (commonest(["", "3", ""]), commonest(["", ""]), commonest(["2", "1", "1", "2"])) == ("3", "", "2")


def test_scored_answers_are_the_likeliest_and_never_empty():
    start = "Q: Heads?\nA: Let's think step by step."
    prompt = f"{start} ? \nTherefore, the answer (Yes or No) is"
    model = Recorded({start: " ?", (prompt, " Yes"): -2.0, (prompt, " No"): -1.0})
    (row,) = zero_shot_cot(items([("Heads?", "no")], "coin_flip"), model, extraction="score").rows()
    assert (row["found"], row["parsed"], row["numerator"]) == ("no", True, 1)
    with pytest.raises(ValueError, match="open answer"):
        zero_shot_cot(items([("2+3?", "5")], "gsm8k"), model, extraction="score")
    with pytest.raises(ValueError, match="in turns"):
        zero_shot_cot(items([("Heads?", "no")], "coin_flip", chat=True), model, extraction="score")


def test_strict_comparison_mends_fractions_letters_and_decimals():
    replies = {
        "Q: ?\nA: The answer (arabic numerals) is": " 9/10.",
        "Q: ?\nA: Among A through E, the answer is": " A total of (C)",
    }
    for task, answer in (("gsm8k", "0.9"), ("aqua", "C")):
        results = {
            compare: next(
                iter(zero_shot_cot(items([("?", answer)], task), Recorded(replies), trigger=None, compare=compare).rows())
            )
            for compare in ("paper", "strict")
        }
        assert [results[compare]["numerator"] for compare in ("paper", "strict")] == [0, 1]
    assert right([("1,000", "1000"), ("2", ""), ("yes", "yes")], "numeric") == [True, False, True]


def test_the_set_can_be_named_apart_from_the_task():
    assert (
        summarise(zero_shot_cot(items([("2+3?", "5")], "my sums"), Recorded(DIALOGUE), answers_like="gsm8k"))["my sums"].accuracy
        == 1
    )
    with pytest.raises(ValueError, match="none of the twelve"):
        zero_shot_cot(items([("2+3?", "5")], "my sums"), Recorded(DIALOGUE))


def test_chains_that_were_cut_or_failed_are_counted():
    class Cut(Recorded):
        def generate(self, prompts, *, max_new_tokens, **settings):
            return [
                Completion("", error="too long")
                if "39" in prompt
                else Completion(" 4", finish_reason="length" if max_new_tokens > 50 else "stop")
                for prompt in prompts
            ]

    scores = zero_shot_cot(items([(f"{number}?", "4") for number in range(40)], "gsm8k"), Cut({}))
    rows = list(scores.rows())
    assert [row["failure"] for row in rows if row["failure"] is not None] == ["too long"]
    assert summarise(scores)["gsm8k"].cut == pytest.approx(39 / 40) and rows[39]["numerator"] == 0
    with pytest.raises(RuntimeError, match="1 of 1 questions failed"):
        zero_shot_cot(items([("39?", "4")], "gsm8k"), Cut({}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trigger": " "}, "trigger is empty"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"num_samples": 2}, "all the same"),
        ({"trigger": None, "stop": ["Q:"]}, "without a trigger"),
        ({"answers_like": "gsm9k"}, "gsm8k"),
    ],
)
def test_contradicting_settings_are_refused_before_any_call(settings, message):
    model = Recorded({})
    with pytest.raises(ValueError, match=message):
        zero_shot_cot(items([("2+3?", "5")], "gsm8k"), model, **settings)
    assert model.calls == []
    with pytest.raises(ValueError, match="no items"):
        zero_shot_cot(items([], "gsm8k"), model)


def test_a_real_model_gets_the_prompts_that_are_written_here(tmp_path, monkeypatch):
    """tiny, greedy: the words behind a row are what the model writes after the prompts put together by hand."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    model, asked = open_language_model("tiny", dtype="float32", cache=False), coin_flip_items(num_items=3)
    stop = ["\nQ:"]
    for row in zero_shot_cot(asked, model, max_reasoning_tokens=6, max_answer_tokens=4, stop=stop).rows():
        begun = f"Q: {row['prompt']}\nA: Let's think step by step."
        (thought,) = model.generate([begun], max_new_tokens=6, stop=stop)
        (reply,) = model.generate([f"{begun}{thought.text} \nTherefore, the answer (Yes or No) is"], max_new_tokens=4)
        assert (row["reasonings"], row["completions"]) == ([thought.text], [reply.text])
        assert row["num_tokens"] == thought.num_tokens + reply.num_tokens
    (asked,) = reasoning_items("aqua", [{"question": "?", "choices": ["x", "y"], "answer": 0}]).rows()
    assert reasoning_prompt(asked["prompt"], "First,", chat=False) == "Q: ? Answer Choices: (A) x (B) y\nA: First,"
    assert answer_prompt("?", SETS["aqua"], None, "", chat=False) == "Q: ?\nA: Among A through E, the answer is"
