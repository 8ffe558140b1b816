"""Tiny models are the same everywhere, in seconds, with everything that a real one has."""

import random

import pytest
import torch

from metier.models.source import open_model
from metier.models.tiny import make_tiny


def test_tiny_is_a_small_llama_made_once(monkeypatch, tmp_path):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    stored = open_model("tiny")
    made = (stored.path / "model.safetensors").stat().st_mtime_ns
    model = stored.load()
    assert 1_000_000 < sum(weight.numel() for weight in model.parameters()) < 2_000_000
    assert model.config.num_key_value_heads < model.config.num_attention_heads
    assert open_model("tiny") == stored and (stored.path / "model.safetensors").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    "text", ["The answer is 123.", "é日本 𝄞\n\t x", "<|im_start|>user\nhi<|im_end|>\n", "\x00\x7f", "  two  blanks "]
)
def test_the_tokenizer_loses_nothing(tmp_path, text):
    tokenizer = make_tiny(tmp_path, hidden_size=32, layers=1).tokenizer()
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


def test_the_tokenizer_is_the_same_on_every_machine(tmp_path):
    tokenizer = make_tiny(tmp_path, hidden_size=32, layers=1).tokenizer()
    assert tokenizer("The question is what the answer is: 42.")["input_ids"] == PINNED


PINNED = [54, 261, 383, 264, 357, 263, 387, 264, 28, 223, 22, 20, 16]


def test_seeds_give_models_and_disturb_nobody(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate()
    weights = [
        make_tiny(tmp_path / str(n), hidden_size=32, layers=1, seed=seed).load().state_dict() for n, seed in enumerate((0, 0, 1))
    ]
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights[0][name], weights[1][name]) and not torch.equal(weights[0][name], weights[2][name])


def test_a_sliding_window_where_there_can_be_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sliding_window=4: llama has none"):
        make_tiny(tmp_path, sliding_window=4)
