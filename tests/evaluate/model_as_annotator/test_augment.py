"""New texts and what becomes of them: each filter's rows are known beforehand."""

import json

import pytest

from metier.artifacts import Corpus
from metier.evaluate.model_as_annotator.augment import augment

LABELS = {"good": "", "bad": "", "mixed": ""}


def rows_of(*texts):
    return Corpus.from_rows({"id": f"r{n}", "text": text, "source": "s", "label": "good"} for n, text in enumerate(texts))


def scripted(writes, items_of, reads=lambda text: "good"):
    """A script that writes `writes[source text]`, and labels by `reads`."""

    def script(messages):
        [text] = items_of(messages)
        labelling = "You label texts" in messages[0]["content"]
        return json.dumps({"label": reads(text)}) if labelling else writes[text]

    return script


def test_each_filter_takes_what_it_is_for(server, model, items_of):
    writes = {
        "a fine day at the sea": "one splendid day by the sea",
        "copied": "Copied",
        "too long": "x" * 17,
        "too short": "x",
        "silent": "  ",
        "misread": "a bad one",
        "endless" * 40: "and on " * 40,
    }
    server.script = scripted(writes, items_of, reads=lambda text: "bad" if "bad" in text else "good")
    found = augment(rows_of(*writes), model, labels=LABELS)
    [kept] = found.rows()
    assert kept == {"id": "r0#0", "text": "one splendid day by the sea", "source": "s", "label": "good", "from_id": "r0"}
    assert found.funnel().dropped == {"length": 2, "copy": 1, "failed": 1, "label": 1, "unfinished": 1}
    assert found.funnel().total == 7


def test_a_second_copy_like_the_first_is_dropped(server, model, items_of):
    server.script = scripted({"a fine day": "what a good day"}, items_of)
    found = augment(rows_of("a fine day"), model, labels=LABELS, copies=2)
    assert [row["id"] for row in found.rows()] == ["r0#0"] and found.funnel().dropped == {"copy": 1}
    assert {body.get("seed") for body in server.seen if body["temperature"] > 0} == {0, 1}


def test_counterfactuals_take_the_other_labels_in_turn_and_may_be_near(server, model, items_of):
    def script(messages):
        content = messages[0]["content"]
        if "You label texts" in content:
            return json.dumps({"label": items_of(messages)[0].split()[-1]})
        return "the day at the sea was " + ("bad" if "but: bad" in content else "mixed")

    server.script = script
    found = list(augment(rows_of("the day at the sea was good"), model, labels=LABELS, kind="counterfactual", copies=2).rows())
    assert [(row["label"], row["text"].split()[-1]) for row in found] == [("bad", "bad"), ("mixed", "mixed")]


def test_the_kind_and_the_label_are_what_the_model_reads(server, model, items_of):
    server.script = scripted({"abc def": "ghi jkl"}, items_of)
    for kind, words in (("paraphrase", "in other words"), ("same_label", "on another subject")):
        augment(rows_of("abc def"), model, labels=LABELS, kind=kind, temperature=0.3, max_new_tokens=9)
        asked = [body for body in server.seen if words in body["messages"][0]["content"]]
        assert [(body["temperature"], body["max_tokens"]) for body in asked] == [(0.3, 9)]
        assert "label is: good" in asked[0]["messages"][0]["content"] or "label: good" in asked[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("label", "settings", "message"),
    [
        ("fine", {}, "row 'r0' has the label 'fine'"),
        ("good", {"labels": {"good": ""}}, "too few"),
        ("good", {"copies": 0}, "copies=0"),
        ("good", {"copies": 2, "temperature": 0.0}, "copies=2 at temperature=0"),
    ],
)
def test_wrong_rows_and_settings_are_refused(server, model, label, settings, message):
    rows = Corpus.from_rows([{"id": "r0", "text": "x", "source": "s", "label": label}])
    with pytest.raises(ValueError, match=message):
        augment(rows, model, **({"labels": LABELS} | settings))
    assert server.seen == []
