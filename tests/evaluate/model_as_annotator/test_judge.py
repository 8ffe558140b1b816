"""Judges of known bias: what is measured must be what they were made with."""

import hashlib
import json
import math

import pytest
from pydantic_core import to_jsonable_python

from metier.artifacts import Table
from metier.engines.generate.open import open_language_model
from metier.evaluate.model_as_annotator.judge import bias, judge, validity


def pairs_of(number, preferred=None):
    """Pairs whose answers say how good they are."""
    rows = [
        {"id": str(n), "prompt": f"question {n}", "first": f"quality {n % 3}", "second": f"quality {(n * 7 + 1) % 4}"}
        for n in range(number)
    ]
    return Table.from_rows([row | {"preferred": preferred[n]} for n, row in enumerate(rows)] if preferred else rows)


def fair(items):
    one, other = (int(item.rpartition(" ")[2]) for item in items[1:])
    return "A" if one > other else "B" if other > one else "tie"


def test_a_fair_judge_has_no_bias_and_names_the_better(server, model, items_of):
    server.script = lambda messages: json.dumps({"winner": fair(items_of(messages))})
    found = judge(pairs_of(30), model)
    rows = list(found.rows.rows())
    for row in rows:
        a, b = int(row["first"][-1]), int(row["second"][-1])
        assert row["verdict"] == row["forward"] == row["backward"] == ("first" if a > b else "second" if b > a else "tie")
    assert found.card.bias.position == (0.0, 0.0, 0.0)
    assert found.card.bias.consistent.value == 1.0 and found.card.bias.length is None  # all answers have one length
    assert found.card.wins == {name: sum(row["verdict"] == name for row in rows) for name in ("first", "second", "tie")}
    assert found.card.validity is None
    json.dumps(to_jsonable_python(found.card))


def test_a_judge_that_takes_the_first_shown_decides_nothing(server, model):
    server.script = lambda messages: '{"winner": "A"}'
    found = judge(pairs_of(20), model)
    assert found.card.bias.position == (0.5, 0.5, 0.5)
    assert found.card.bias.consistent.value == 0.0
    assert found.card.wins == {"first": 0, "second": 0, "tie": 20}


def test_a_position_bias_of_twenty_points_is_measured(server, model, items_of):
    def script(messages):  # with chance 0.4 the first shown, else the better one: P(first) = 0.5 + 0.4 / 2
        content = messages[0]["content"]
        chance = int.from_bytes(hashlib.sha256(content.encode()).digest()[:4]) / 2**32
        verdict = fair(items_of(messages))
        return json.dumps({"winner": "A" if chance < 0.4 else verdict})

    server.script = script
    rows = [
        {"id": str(n), "prompt": f"q {n}", "first": f"{n} quality {n % 2}", "second": f"{n} quality {1 - n % 2}"}
        for n in range(250)
    ]
    position = judge(Table.from_rows(rows), model).card.bias.position
    assert position.value == pytest.approx(0.2, abs=0.04)  # two standard deviations of 500 askings
    assert position.low < 0.2 < position.high and position.high - position.low < 0.1


def test_unread_answers_make_ties_and_too_many_are_refused(server, model, items_of):
    server.script = lambda messages: "well" if items_of(messages)[0] == "question 3" else '{"winner": "tie"}'
    found = judge(pairs_of(25), model)
    row = list(found.rows.rows())[3]
    assert (row["verdict"], row["forward"], row["backward"]) == ("tie", None, None)
    assert found.card.bias.unread == 2 / 50 and found.card.bias.position is None
    with pytest.raises(RuntimeError, match=r"2 of 20 .* name no winner"):
        judge(pairs_of(10), model)


def test_scored_verdicts_are_the_likelier_letter(monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    tiny = open_language_model("tiny")
    rows = list(judge(pairs_of(4), tiny, answers="scored").rows.rows())
    assert {row["forward"] for row in rows} <= {"first", "second"}
    swapped_pairs = Table.from_rows(row | {"first": row["second"], "second": row["first"]} for row in rows)
    again = list(judge(swapped_pairs, tiny, answers="scored").rows.rows())
    swapped = {"first": "second", "second": "first", "tie": "tie"}
    assert [row["verdict"] for row in again] == [swapped[row["verdict"]] for row in rows]
    assert [row["forward"] for row in again] == [swapped[row["backward"]] for row in rows]


def test_the_criteria_are_what_the_judge_reads(server, model):
    server.script = lambda messages: '{"winner": "tie"}'
    judge(pairs_of(1), model, criteria="Which one rhymes?")
    assert all("Which one rhymes?" in body["messages"][0]["content"] for body in server.seen) and len(server.seen) == 2


def test_validity_by_hand():
    verdicts = ["first"] * 6 + ["second"] * 2 + ["tie"] * 2
    people = ["first"] * 5 + ["second", "second", "tie", "tie", "first"]
    rows = [{"verdict": a, "preferred": b} for a, b in zip(verdicts, people, strict=True)]
    found = validity([*rows, {"verdict": "first", "preferred": None}])
    assert (found.num_pairs, found.decided.value, found.everything.value) == (10, 6 / 7, 0.7)
    # expected agreement: (6*6 + 2*2 + 2*2) / 100
    assert found.kappa.value == pytest.approx((0.7 - 0.44) / (1 - 0.44))


def test_the_length_slope_is_least_squares_through_zero():
    texts = [("aaa", "a"), ("a", "aaaaaaa"), ("aa", "aa"), ("aaaaaaa", "aaa")]
    verdicts = ["first", "second", "first", "tie"]
    rows = [
        {"first": a, "second": b, "verdict": verdict, "forward": verdict, "backward": verdict, "preferred": None}
        for (a, b), verdict in zip(texts, verdicts, strict=True)
    ]
    x = [math.log(2), -math.log(4), 0, math.log(2)]
    expected = (0.5 * x[0] - 0.5 * x[1]) / sum(value**2 for value in x)
    assert bias(rows).length.value == pytest.approx(expected) and bias(rows).people_length is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no pairs"),
        ([{"id": "1", "prompt": "p", "first": "a"}], r"\['second'\] are missing"),
        ([{"id": "1", "prompt": "p", "first": "a", "second": "b", "preferred": "a"}], "preferred is 'a'"),
    ],
)
def test_what_can_not_be_judged_is_refused(model, rows, message):
    with pytest.raises(ValueError, match=message):
        judge(Table.from_rows(rows, columns=["id"]), model)
