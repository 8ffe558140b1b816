"""Forms of a question, against prompts written out by hand; readings against a direct softmax; an exact invariance to option order."""

import math

import pytest

from metier.engines.generate.open import open_language_model
from metier.evaluate.base_model import INSTRUCTION, asked_items, base_model, filled, reading, unfit
from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure
from metier.models.source import open_model
from metier.models.tiny import make_tiny


def choice(name, prompt, options, gold=0):
    return Item(name, "facts", "general", "choice", prompt, options=options, gold=gold)


SUN = choice("sun", "Question: The sun is a ___ in the sky.\nAnswer:", ["stone", "star"], 1)
SEA = choice("sea", "Question: What is wet?\nAnswer:", ["sand", "the sea"], 1)


def forms(*items, shots=0, practice=(), span="option"):
    return asked_items([items_table(items)], [items_table(practice)] if practice else [], shots, span, INSTRUCTION, 0)


def test_forms_are_written_as_the_sheet_says():
    found = forms(SUN, SEA)
    sun, sea = found["facts", "blank"]
    assert (sun.prompt, sun.options) == ("The sun is a ", ["stone", "star"])
    assert (sea.prompt, sea.options) == ("What is wet?\nAnswer:", ["sand", "the sea"])
    lettered, listed = found["facts", "letters"][1], found["facts", "options"][1]
    assert lettered.prompt == listed.prompt == "What is wet?\nA. sand\nB. the sea\nAnswer:"
    assert (lettered.options, listed.options) == (["A", "B"], ["sand", "the sea"])


def test_the_tail_is_scored_with_the_option():
    assert filled("The sun is a ___ in the sky.", "star", "tail") == ("The sun is a ", "star in the sky.")
    assert filled("___ is a star.", "The sun", "tail") == ("___ is a star.\nAnswer:", " The sun")
    assert filled("snake_case is ( )", "a style", "option") == ("snake_case is ", "a style")


def test_worked_examples_take_the_form_of_the_question():
    practice = [choice("p", "Question: Ice is ___.\nAnswer:", ["hot", "cold"], 1)]
    found = forms(SEA, shots=1, practice=practice)
    assert found["facts", "blank"][0].prompt == "Ice is cold.\n\nWhat is wet?\nAnswer:"
    assert found["facts", "letters"][0].prompt.startswith("Ice is ___.\nA. hot\nB. cold\nAnswer: B\n\nWhat is wet?")
    free = [Item(f"f{k}", "sums", "general", "generate", f"Question: {k}+1?\nAnswer:", answer=str(k + 1)) for k in range(2)]
    (light,) = asked_items([items_table(free[:1])], [items_table(free[1:])], 1, "option", "Only the sum.", 0).values()
    assert light[0].prompt == "Only the sum.\n1+1?\nAnswer: 2\n\nOnly the sum.\n0+1?\nAnswer:"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["ice", "All of the above"], "speaks of the others"),
        (["ice", "both ice and fire"], "speaks of the others"),
        (["Ice.", "ice"], "equal"),
        (["new york", "new york city"], "begins another"),
        (["ice", "fire"], None),
        (["both", "one"], None),
    ],
)
def test_what_no_gap_can_hold_is_left_out(options, reason):
    found = unfit({"kind": "choice", "options": options})
    assert (found is None) == (reason is None) and (reason or "") in (found or "")


def test_what_is_left_out_is_counted_and_never_all():
    left_out = {}
    odd = choice("odd", "Question: x?\nAnswer:", ["a", "none of these"])
    kept = asked_items([items_table([SEA, odd])], [], 0, "option", "", 0, left_out)
    assert left_out == {"facts": {"an option speaks of the others": 1}}
    assert [item.id for item in kept["facts", "letters"]] == ["sea"]
    with pytest.raises(ValueError, match="none of its 1 items is left"):
        forms(odd)


def test_readings_are_the_softmax_over_normalised_options():
    row = {
        "task": "t", "kind": "choice", "prompt": "x", "gold": 1, "numerator": 1.0,
        "logprobs": [-6.0, -4.0, -12.0], "num_bytes": [3, 4, 4], "num_tokens": [1, 1, 1],
    }  # fmt: skip
    found = reading("m", "blank", [row], "bytes")
    values = [-2.0, -1.0, -3.0]
    assert found.margin == pytest.approx(1.0)
    assert found.gold_probability == pytest.approx(math.exp(-1) / sum(map(math.exp, values)))
    assert found.error == 0.0


def test_a_gap_does_not_see_the_order_of_options():
    questions = [choice(f"q{k}", f"Question: The {k}th is ___.\nAnswer:", ["red", "blue", "green"], k % 3) for k in range(9)]
    turned = [choice(q.id, q.prompt, q.options[1:] + q.options[:1], (q.gold - 1) % 3) for q in questions]
    model = open_language_model(open_model("tiny"), cache=False, dtype="float32")

    def answers(items, form):
        rows = measure(model, items_table(forms(*items)["facts", form])).rows()
        return [sorted(zip(row["options"], row["logprobs"], strict=True)) for row in rows], [row["numerator"] for row in rows]

    (plain, right), (moved, still_right) = (answers(items, "blank") for items in (questions, turned))
    for before, after in zip(plain, moved, strict=True):
        assert [name for name, _ in before] == [name for name, _ in after]
        assert [value for _, value in before] == pytest.approx([value for _, value in after], abs=1e-5)
    assert right == still_right


def test_a_series_is_read_and_judged(tmp_path):
    series = [make_tiny(tmp_path / f"m{k}", seed=k, std=0.2) for k in range(4)]
    items = [choice(f"q{k}", f"Question: The {k}th is ___.\nAnswer:", ["red", "blue"], k % 2) for k in range(8)]
    found = base_model(series, [items_table(items)], steps=[1, 2, 4, 8])
    assert [one.metric for one in found.trust] == ["facts, blank", "facts, options", "facts, letters"]
    assert len(found.readings) == 12
    assert all(one.num_checkpoints == 4 for one in found.trust)
    pairs = base_model(series, [items_table(items)], bases=series[:3], tuned=series[1:])
    assert {one.num_models for one in pairs.trust} == {3}


def test_too_few_checkpoints_and_unpaired_models_are_refused():
    model = open_model("tiny")
    with pytest.raises(ValueError, match="four checkpoints or more"):
        base_model([model] * 3, [items_table([SEA])])
    with pytest.raises(ValueError, match="2 bases and 1 tuned"):
        base_model([model] * 4, [items_table([SEA])], bases=[model] * 2, tuned=[model])
