"""The formula against torch's own count of what really ran."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from metier.engines.train.flops import Costs, peak_flops
from metier.models.tiny import make_tiny

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def counted(network, backward, **inputs):
    network.set_attn_implementation("eager")  # whose products the counter sees one by one
    network.train()
    with FlopCounterMode(display=False) as counter:
        logits = network(**inputs).logits
        if backward:
            logits.float().logsumexp(-1).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mistral"])
@pytest.mark.parametrize("length", [1, 7, 24])
def test_decoders_cost_what_is_counted(architecture, length, tmp_path):
    network = make_tiny(tmp_path, architecture=architecture, hidden_size=64).load(dtype=torch.float32)
    costs = Costs.of(network)
    ids = torch.randint(0, 500, (3, length))
    assert costs.forward([length] * 3, 3 * length) == counted(network, False, input_ids=ids, use_cache=False)
    assert costs.training([length] * 3, 3 * length) == counted(network, True, input_ids=ids, use_cache=False)


def test_masked_models_cost_what_is_counted():
    network = BertForMaskedLM(BertConfig(vocab_size=100, hidden_dropout_prob=0.0, **SMALL))
    assert Costs.of(network).training([9, 9], 18) == counted(network, True, input_ids=torch.randint(0, 99, (2, 9)))


def test_encoder_decoders_cost_what_is_counted():
    config = T5Config(
        vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=3, num_heads=2, dropout_rate=0.0
    )
    network = T5ForConditionalGeneration(config)
    ids, decoded = torch.randint(0, 99, (2, 11)), torch.randint(0, 99, (2, 5))
    assert Costs.of(network).training([11, 11], 10, [5, 5]) == counted(network, True, input_ids=ids, decoder_input_ids=decoded)
    assert Costs.of_config(config, AutoModelForSeq2SeqLM) == Costs.of(network)


def test_a_configuration_costs_what_its_model_costs_without_making_it():
    config = LlamaConfig(
        vocab_size=49_152, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=11_008
    )
    costs = Costs.of_config(config)
    assert costs.body == 32 * (4 * 4096**2 + 3 * 4096 * 11_008)
    assert costs.head == 49_152 * 4096
    assert costs.attention == 32 * 4096
    bert = BertConfig(vocab_size=100, **SMALL)
    assert Costs.of_config(bert, AutoModelForMaskedLM) == Costs.of(BertForMaskedLM(bert))


def test_a_cpu_has_no_peak():
    assert peak_flops(torch.device("cpu")) is None
