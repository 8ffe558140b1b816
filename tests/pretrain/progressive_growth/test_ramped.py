"""The ramp begins at the small model's function and ends at a plain one; in between it is interrupted without a jump."""

import functools
import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from metier.artifacts import Corpus
from metier.engines.train.trainer import Step
from metier.models.tiny import make_tiny
from metier.pretrain.progressive_growth.grow import Sizes, enlarged, new_layers
from metier.pretrain.progressive_growth.ramped import Ramp, ramped

IDS = torch.arange(5, 25)[None]


def pair(place="stack", sizes=(3, 54, 80, 6, None), tied=True):
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, tie_word_embeddings=tied, initializer_range=0.2, head_dim=8)  # fmt: skip
    torch.manual_seed(0)
    base = LlamaForCausalLM(config).double().eval()
    before = Sizes.of(config)
    after = before.grown(*sizes)
    larger = enlarged(base, after, place=place, seed=1, silent=False)
    return base, larger, Ramp(before, after, new_layers(2, after.layers, place)[1], steps=10)


def normed(module, hidden):
    return module.weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + module.variance_epsilon)


def advanced(ramp, network, step):
    return ramp.advance(Step(step, 20, 0, None, network, None))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        (4, None, None, None, None),
        (None, 52, None, None, None),
        (None, None, 80, None, None),
        (None, None, None, 8, 2),
        (3, 54, 80, 6, None),
    ],
)
def test_it_begins_as_the_small_model_and_ends_as_the_plain_large_one(sizes, tied):
    base, larger, ramp = pair("interleave", sizes, tied)
    for network in (base, larger):
        for module in network.modules():
            if "RMSNorm" in type(module).__name__:  # which transformers computes in fp32 even for float64
                module.forward = functools.partial(normed, module)
    plain = larger(IDS).logits.detach()
    assert float((plain - base(IDS).logits).abs().max()) > 1e-2
    masked = ramp.put_on(larger, seed=0).double()
    assert float((masked(IDS).logits - base(IDS).logits).abs().max()) < 1e-10
    assert advanced(ramp, masked, 5) == {"growth": 0.5}
    with pytest.raises(ValueError, match=r"at 0\.50"):
        ramp.take_off(masked)
    advanced(ramp, masked, 15)
    assert float((masked(IDS).logits - plain).abs().max()) < 1e-10
    names = set(larger.state_dict())
    assert torch.equal(ramp.take_off(masked)(IDS).logits, plain)
    assert not any("growth" in name for name in larger.state_dict()) and len(names) > len(larger.state_dict())


def test_a_training_ramps_and_stores_a_plain_model(tmp_path):
    base = make_tiny(tmp_path / "base", hidden_size=32)
    corpus = Corpus.from_rows({"id": str(i), "text": "the answer is in the list " * 8, "source": "a"} for i in range(20))
    settings = {"layers": 3, "hidden_size": 48, "tokens": 6000, "batch_tokens": 256, "sequence_length": 64, "learning_rate": 3e-3}
    made = ramped(base, corpus, corpus, ramp_steps=5, workdir=tmp_path / "work", precision="float32", **settings)
    lines = [json.loads(line) for line in (tmp_path / "work" / "metrics.jsonl").read_text().splitlines()]
    shares = [line["growth"] for line in lines if "growth" in line]
    assert shares[:6] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    assert held_out[0] == pytest.approx(torch.tensor(512.0).log().item(), abs=0.2) and held_out[-1] < held_out[0] - 1
    assert made.load().config.hidden_size == 48 and not any("growth" in name for name in made.load().state_dict())
    with pytest.raises(ValueError, match="ramp_steps=9000"):
        ramped(base, corpus, ramp_steps=9000, workdir=tmp_path / "other", **settings)
