import json

import pytest

from metier.adapt.supervised import supervised
from metier.artifacts import Examples
from metier.engines.train.adapter import Adapter
from metier.models.source import open_model

SUMS = [{"prompt": f"{a} + {b} =", "completion": f" {a + b}", "source": "sums"} for a in range(5) for b in range(5)]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("adapter", [None, Adapter(rank=8)])
def test_learns_the_answers_it_was_given(adapter, tmp_path):
    options = {"epochs": 8, "learning_rate": 3e-3 if adapter is None else 3e-2, "batch_size": 5, "precision": "float32"}
    made = supervised(open_model("tiny"), Examples.from_rows(SUMS), adapter=adapter, workdir=tmp_path, **options)
    assert losses(tmp_path)[-1] < losses(tmp_path)[0] - 2
    assert made.facts["steps"] == 40
    assert made.load().dtype == open_model("tiny").load().dtype


def test_a_step_holds_whole_examples_and_only_answers_are_counted(tmp_path):
    supervised(open_model("tiny"), Examples.from_rows(SUMS[:10]), batch_size=10, workdir=tmp_path)
    tokenizer = open_model("tiny").tokenizer()
    (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    whole = sum(
        len(tokenizer(row["prompt"] + row["completion"])["input_ids"]) - len(tokenizer(row["prompt"])["input_ids"]) + 1
        for row in SUMS[:10]
    )
    assert line["tokens"] == whole


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        (SUMS, {"batch_size": 0}, "batch_size=0"),
        (SUMS, {"longest": 3}, "no example of at most 3 tokens"),
        ([{"prompt": "x", "completion": ""}], {}, "empty completion"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_training(rows, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        supervised(open_model("tiny"), Examples.from_rows(rows), workdir=tmp_path, **settings)
