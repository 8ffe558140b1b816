import json

import pytest
import torch

from metier.artifacts import Corpus
from metier.engines.train.series import members
from metier.models.source import open_model
from metier.pretrain.continued import continued

TEXTS = Corpus.from_rows(
    [
        {"id": str(i), "text": f"The year {1900 + i} was followed by the year {1901 + i}. " * 3, "source": f"s{i % 3}"}
        for i in range(30)
    ]
)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_reads_the_corpus_as_often_as_asked_and_learns_it(tmp_path):
    options = {"epochs": 3, "learning_rate": 3e-3, "sequence_length": 128, "batch_tokens": 512}
    made = continued(open_model("tiny"), TEXTS, TEXTS, workdir=tmp_path, **options)
    trained = [line for line in metrics(tmp_path) if "loss" in line]
    held_out = [line["held_out_loss"] for line in metrics(tmp_path) if "held_out_loss" in line]
    tokenizer = open_model("tiny").tokenizer()
    corpus_tokens = sum(len(tokenizer(row["text"], add_special_tokens=False)["input_ids"]) + 1 for row in TEXTS.rows())
    assert made.facts["tokens_trained"] == trained[-1]["tokens"] == 3 * corpus_tokens
    assert held_out[-1] < held_out[0] - 1
    assert set(trained[-1]["losses"]) <= {"s0", "s1", "s2"}


def test_tokens_set_the_length_and_the_input_stays_as_it_was(tmp_path):
    before = {name: weight.clone() for name, weight in open_model("tiny").load().state_dict().items()}
    made = continued(open_model("tiny"), TEXTS, tokens=1000, sequence_length=64, batch_tokens=64, workdir=tmp_path)
    assert made.facts["tokens_trained"] == pytest.approx(1000, abs=64)
    assert all(torch.equal(weight, before[name]) for name, weight in open_model("tiny").load().state_dict().items())


def test_a_corpus_smaller_than_one_sequence_trains(tmp_path):
    one = Corpus.from_rows([{"id": "1", "text": "Hi.", "source": "s"}])
    assert continued(open_model("tiny"), one, workdir=tmp_path).facts["steps"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"batch_tokens": 0}, "batch_tokens=0"), ({"sequence_length": 1}, "sequence_length=1"), ({"epochs": 0.0}, "epochs=0.0")],
)
def test_wrong_settings_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        continued(open_model("tiny"), TEXTS, workdir=tmp_path, **settings)
    with pytest.raises(ValueError, match="holds no text to train on"):
        continued(open_model("tiny"), Corpus.from_rows([]), workdir=tmp_path)


def test_a_recipe_keeps_the_checkpoints_that_were_asked_for(tmp_path, monkeypatch):
    from metier.cli.main import main

    (tmp_path / "docs").mkdir()
    for row in TEXTS.rows():
        (tmp_path / "docs" / f"{row['id']}.txt").write_text(row["text"])
    (tmp_path / "r.yaml").write_text(
        "name: r\nstages:\n  base: {use: models.load, source: tiny}\n  docs: {use: data.read, source: docs}\n"
        "  expert: {use: pretrain.continued, model: $base, corpus: $docs, sequence_length: 64, batch_tokens: 256, series: {every: 3}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["metier", "run", "r.yaml"])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    found = list(members(tmp_path / "runs" / "r" / "expert"))
    last = metrics(tmp_path / "runs" / "r" / "expert")[-1]["step"]
    assert [member.step for member in found] == sorted({0, last, *range(3, last, 3)})
    assert found[-1].model.load().num_parameters() == open_model("tiny").load().num_parameters()
