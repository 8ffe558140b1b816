"""A training whose checkpoints are asked."""

import random

import pytest

from metier.artifacts import Corpus, Items
from metier.models.source import open_model
from metier.pretrain.capability_dynamics.followed import ANSWERS, followed


def test_a_training_is_followed_and_answers_are_not_asked_twice(tmp_path):
    generator, words = random.Random(0), "red blue green black white grey pink".split()

    def doubled(count):
        return " ".join(f"{word} {word}" for word in generator.choices(words, k=count))

    corpus = Corpus.from_rows({"id": str(number), "text": doubled(20), "source": "doubled"} for number in range(120))
    items = []
    for number in range(40):
        right, wrong = generator.sample(words, 2)
        row = {"id": f"i{number}", "task": "copy", "role": "acquired", "kind": "choice", "prompt": f"{doubled(3)} {right}"}
        items.append(row | {"options": [right, wrong], "gold": 0, "answer": "", "chat": False, "source": ""})
    settings_ = {"steps": 30, "checkpoints": 6, "sequence_length": 64, "batch_tokens": 512, "workdir": tmp_path}
    found = followed(open_model("tiny"), corpus, [Items.from_rows(items)], **settings_)
    rows = list(found.results.rows())
    assert [row["step"] for row in rows] == [0, 1, 5, 10, 20, 30]
    assert rows[0]["tokens_seen"] == 0 and rows[-1]["tokens_seen"] > rows[-2]["tokens_seen"] > 0
    assert rows[0]["params"] == open_model("tiny").load().num_parameters()
    assert rows[-1]["value"] > 0.8 > rows[0]["value"] and rows[-1]["nats_per_byte"] < rows[0]["nats_per_byte"]
    asked = (tmp_path / ANSWERS).read_text()
    (tmp_path / ANSWERS).write_text(asked[:-20])  # cut off in the middle of a line
    again = followed(open_model("tiny"), corpus, [Items.from_rows(items)], **settings_)
    assert list(again.results.rows()) == rows
    with pytest.raises(ValueError, match="kind text"):
        followed(open_model("tiny"), corpus, [Items.from_rows([items[0] | {"kind": "text"}])], **settings_)
