"""New models: what they are, that they learn, and that the same call gives the same one."""

import json

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from metier.artifacts import Corpus
from metier.models.source import open_model
from metier.pretrain.from_scratch import Size, from_scratch, train_tokenizer

ROWS = [
    {"id": str(i), "text": f"The year {1900 + i} was followed by the year {1901 + i}. " * 3, "source": f"s{i % 3}"}
    for i in range(40)
]
SMALL = {"size": Size(layers=2, hidden_size=32, heads=2), "vocabulary": 400, "sequence_length": 64, "batch_tokens": 256}


def corpus():
    return Corpus.from_rows(ROWS)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_new_llama_learns_the_corpus_and_the_same_call_gives_the_same_weights(tmp_path):
    made = [from_scratch(corpus(), corpus(), epochs=6, learning_rate=1e-2, workdir=tmp_path / name, **SMALL) for name in "ab"]
    held_out = [line["held_out_loss"] for line in metrics(tmp_path / "a") if "held_out_loss" in line]
    assert held_out[0] == pytest.approx(torch.tensor(float(made[0].config().vocab_size)).log().item(), abs=0.2)
    assert held_out[-1] < held_out[0] - 2.5
    one, other = (model.load().state_dict() for model in made)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert made[0].config().num_hidden_layers == 2 and made[0].config().max_position_embeddings == 64
    lines = [line for line in metrics(tmp_path / "a") if "trained" in line]
    assert lines[-1]["learning_rate"] < 0.2 * max(line["learning_rate"] for line in lines)
    text = "The year 1901 was followed"
    assert made[0].tokenizer().decode(made[0].tokenizer()(text)["input_ids"]) == text


def test_the_size_of_a_llama_is_its_closed_form(tmp_path):
    size = Size(layers=3, hidden_size=48, heads=4, kv_heads=2, intermediate_size=100, tied=False)
    made = from_scratch(corpus(), tokens=200, workdir=tmp_path, **(SMALL | {"size": size}))
    vocabulary = made.config().vocab_size
    layer = 2 * 48 * 48 + 2 * 48 * 24 + 3 * 48 * 100 + 2 * 48
    assert made.load().num_parameters() == 3 * layer + 2 * vocabulary * 48 + 48
    assert made.facts["tokens_trained"] == pytest.approx(200, abs=256)


@pytest.mark.parametrize(("objective", "auto"), [("masked", AutoModelForMaskedLM), ("masked_words", AutoModelForMaskedLM), ("spans", AutoModelForSeq2SeqLM)])  # fmt: skip
def test_other_objectives_make_their_own_kinds(objective, auto, tmp_path):
    made = from_scratch(corpus(), corpus(), objective=objective, epochs=8, learning_rate=5e-3, workdir=tmp_path, **SMALL)
    network = auto.from_pretrained(made.path)
    assert type(network).__name__ == {"spans": "T5ForConditionalGeneration"}.get(objective, "BertForMaskedLM")
    held_out = [line["held_out_loss"] for line in metrics(tmp_path) if "held_out_loss" in line]
    assert held_out[-1] < held_out[0] - 0.3


def test_a_configuration_and_a_given_tokenizer_are_used(tmp_path):
    (tmp_path / "sizes.yaml").write_text("{model_type: gpt2, n_layer: 1, n_embd: 32, n_head: 2, n_positions: 64}\n")
    settings = {name: value for name, value in SMALL.items() if name != "size"}
    made = from_scratch(corpus(), None, open_model("tiny"), config=tmp_path / "sizes.yaml", workdir=tmp_path, **settings)
    assert made.config().model_type == "gpt2" and made.config().vocab_size == len(open_model("tiny").tokenizer())
    assert made.tokenizer().get_vocab() == open_model("tiny").tokenizer().get_vocab()


def test_a_tokenizer_has_what_its_objective_needs_and_keeps_every_text():
    texts = [row["text"] for row in ROWS]
    for objective in ("causal", "masked", "spans"):
        tokenizer = train_tokenizer(texts, 400, objective)
        assert len(tokenizer) <= 400
        for text in ("naïve 北京 🙂\n\tx", texts[0]):
            assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("1234")["input_ids"]) == 4
    with pytest.raises(ValueError, match="vocabulary=300 does not hold 256 bytes and 102"):
        train_tokenizer(texts, 300, "spans")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": "x.yaml"}, "give one of them"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"objective": "spans", "size": Size(heads=4, hidden_size=32, kv_heads=2)}, "kv_heads=2"),
        ({"sequence_length": 1}, "sequence_length=1"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_scratch(corpus(), workdir=tmp_path, **(SMALL | settings))


@pytest.mark.parametrize(
    ("sizes", "message"), [({"layers": 0}, "layers=0"), ({"heads": 5}, "5 heads"), ({"kv_heads": 4}, "kv_heads=4")]
)
def test_sizes_that_make_no_model_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        Size(**sizes)
    with pytest.raises(ValueError, match="holds no text to train on"):
        from_scratch(Corpus.from_rows([]), **SMALL)


def test_a_file_without_a_model_type_is_refused(tmp_path):
    (tmp_path / "sizes.yaml").write_text("{n_layer: 1}\n")
    with pytest.raises(ValueError, match="needs a model_type"):
        from_scratch(corpus(), config=tmp_path / "sizes.yaml", workdir=tmp_path, vocabulary=400)
