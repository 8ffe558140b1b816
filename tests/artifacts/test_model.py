"""A model's fingerprint: equal for equal weights, different wherever a matrix changed."""

import subprocess
import sys

from metier.artifacts import Model
from metier.models.source import open_model


def test_a_fingerprint_sees_one_matrix_in_the_middle_change(tmp_path):
    prints = {}
    for name, place, length in (
        ("one", 0, 8 << 20),
        ("same", 0, 8 << 20),
        ("adapted", 4 << 20, 8 << 20),
        ("longer", 0, (8 << 20) + 1),
    ):
        content = bytearray(length)
        if place:
            content[place + 5000 : place + (101 << 10)] = b"\1" * ((101 << 10) - 5000)  # a small projection
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
        (tmp_path / name / "config.json").write_text("{}")
        prints[name] = Model.open(tmp_path / name).fingerprint()
    assert prints["one"] == prints["same"]
    assert len(set(prints.values())) == 3


def test_a_model_opens_as_the_class_that_its_configuration_names(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    assert type(Model.open(tmp_path).load()) is BertForMaskedLM
    assert type(open_model("tiny").load()).__name__ == "LlamaForCausalLM"


def test_weights_of_our_own_form_open_in_a_new_process(tmp_path):
    from metier.pretrain.sparse_low_rank import sparse_low_rank

    tiny = open_model("tiny")
    Model.of(sparse_low_rank(tiny.load(), rank=4, init="svd"), tiny.tokenizer(), tmp_path)
    script = "import sys; from metier.artifacts import Model; print(type(Model.open(sys.argv[1]).load()).__name__)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.strip() == "LlamaForCausalLM", done.stderr[-2000:]
