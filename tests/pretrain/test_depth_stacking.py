"""Depth stacking: copies compute what the base's layers do in turn, models that cannot be copied are refused, plans and speed-ups by hand."""

import copy
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from metier.models.tiny import make_tiny
from metier.pretrain.depth_stacking import depth_stacking
from metier.pretrain.depth_stacking.planning import best_base_tokens, fitted_tokens, plan_growth
from metier.pretrain.depth_stacking.speed_up import cost_at, curve, speed_up
from metier.pretrain.depth_stacking.stack import arrangement, connection_rate, layer_list, stacked

IDS = torch.arange(5, 25)[None]


def repeated(base, order):
    """The base with its own layers called in that order, the same objects again and again, and no cache."""
    base = copy.deepcopy(base)
    name, blocks = layer_list(base)
    parent, _, last = name.rpartition(".")
    setattr(base.get_submodule(parent), last, nn.ModuleList([blocks[layer] for layer in order]))
    base.config.num_hidden_layers = len(order)
    if getattr(base.config, "layer_types", None):
        base.config.layer_types = [base.config.layer_types[layer] for layer in order]
    return base(IDS, use_cache=False).logits


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2", "gemma2"])
def test_the_grown_model_runs_the_layers_of_the_base_in_turn(architecture, tmp_path):
    kv_heads = 4 if architecture == "gpt2" else 2
    base = make_tiny(tmp_path / "base", hidden_size=64, kv_heads=kv_heads, architecture=architecture, std=0.2)
    made = depth_stacking(base, growth=3, workdir=tmp_path)
    grown = AutoModelForCausalLM.from_pretrained(made.path).double()
    expected = repeated(base.load().double(), [0, 1] * 3)
    assert float((grown(IDS).logits - expected).abs().max().detach()) < 1e-10
    # A layer that kept its number would share the base's place in the cache, and generation would break.
    cached, plain = (grown.generate(IDS, max_new_tokens=5, do_sample=False, use_cache=use) for use in (True, False))
    assert torch.equal(cached, plain)
    assert made.facts["order"] == [0, 1, 0, 1, 0, 1]


def test_copies_are_clones_and_the_base_stays(tmp_path):
    base = make_tiny(tmp_path / "base", hidden_size=64).load()
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    grown = stacked(base, [0, 1, 0, 1])
    assert len({weight.data_ptr() for weight in grown.parameters()}) == len(list(grown.parameters()))
    with torch.no_grad():
        for weight in grown.parameters():
            weight.zero_()
    assert all(torch.equal(weight, before[name]) for name, weight in base.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
def test_an_order_of_one_s_own_and_its_identity(tied):
    config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                         num_key_value_heads=2, tie_word_embeddings=tied)  # fmt: skip
    torch.manual_seed(0)
    base = LlamaForCausalLM(config).double().eval()
    assert torch.equal(stacked(base, [0, 1, 2])(IDS).logits, base(IDS).logits)
    torch.testing.assert_close(stacked(base, [2, 0, 0, 1])(IDS).logits, repeated(base, [2, 0, 0, 1]), rtol=0, atol=1e-12)


def test_noise_has_the_variance_of_the_paper(tmp_path):
    base = make_tiny(tmp_path / "base", hidden_size=64, heads=4, kv_heads=4).load()
    plain, noisy = stacked(base, [0, 1] * 2), stacked(base, [0, 1] * 2, noise=1.0, seed=3)
    blocks = layer_list(noisy)[1]
    down = torch.cat([block.mlp.down_proj.weight.flatten() for block in blocks])
    up = torch.cat([block.mlp.up_proj.weight.flatten() for block in blocks])
    assert float(down.var()) == pytest.approx(1 / (64 * 4**2), rel=0.05)
    assert float(up.var()) == pytest.approx(2 / (5 * 64), rel=0.05)
    half = stacked(base, [0, 1] * 2, noise=0.25, seed=3)
    name = "model.layers.3.mlp.up_proj.weight"
    expected = 0.75 * plain.state_dict()[name] + 0.25 * noisy.state_dict()[name]
    torch.testing.assert_close(half.state_dict()[name], expected)
    norms = "model.layers.3.input_layernorm.weight"
    assert torch.equal(half.state_dict()[norms], plain.state_dict()[norms])


def test_connection_rates_of_the_paper():
    """6 to 24 layers; the paper prints 74.0 and 60.7 for the fourth and fifth, the pairs say 17 and 14 of 23."""
    orders = {
        20: arrangement(6, 24, "stack"),
        5: arrangement(6, 24, "interleave"),
        18: [0, 1, *[2, 3, 4, 5] * 5, 4, 5],
        17: [0, 1, *[2, 3, 4] * 7, 5],
        14: [0, 1, 2, 3, *[4, 5] * 10],
    }
    for pairs, order in orders.items():
        assert len(order) == 24 and connection_rate(order) == pytest.approx(pairs / 23)


@given(st.integers(1, 8), st.integers(1, 6))
def test_each_layer_is_copied_equally_often(depth, growth):
    for kind in ("stack", "interleave"):
        order = arrangement(depth, depth * growth, kind)
        assert sorted(order) == sorted(list(range(depth)) * growth)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"growth": 1}, "growth=1 adds no layer"),
        ({"noise": 1.5}, "noise=1.5 is no share"),
        ({"order": [0, 7]}, "layers 0 to 1"),
        ({"order": []}, "at least one"),
    ],
)
def test_bad_settings_are_refused(settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        depth_stacking(make_tiny(tmp_path, hidden_size=64), **settings)


def test_what_cannot_be_copied_is_refused():
    from transformers import AlbertConfig, AlbertForMaskedLM, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    small = {"vocab_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with pytest.raises(ValueError, match="no list of its 2 layers"):
        stacked(AlbertForMaskedLM(AlbertConfig(**small, hidden_size=16, embedding_size=8, intermediate_size=16)), [0, 1, 0])
    with pytest.raises(ValueError, match="an encoder and a decoder"):
        stacked(T5ForConditionalGeneration(T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)), [0])
    scaled = GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(ValueError, match="scale_attn_by_inverse_layer_idx=True"):
        stacked(GPT2LMHeadModel(scaled), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="no multiple of the base's 4"):
        arrangement(4, 10, "stack")


def test_layers_of_two_kinds_are_stacked_in_whole_periods_only():
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, num_experts=4, num_experts_per_tok=2, decoder_sparse_step=2,
    )  # fmt: skip
    base = Qwen3MoeForCausalLM(config).eval()
    grown = stacked(base, arrangement(4, 8, "stack"))
    torch.testing.assert_close(grown(IDS).logits, repeated(base, arrangement(4, 8, "stack")), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="decoder_sparse_step=2: layer 1 would be a copy of layer 0"):
        stacked(base, arrangement(4, 8, "interleave"))


def test_lists_over_layers_follow_the_order():
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, SmolLM3Config, SmolLM3ForCausalLM

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "pad_token_id": 0,
             "num_key_value_heads": 2, "initializer_range": 0.2, "max_position_embeddings": 64}  # fmt: skip
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    grown = stacked(Gemma3ForCausalLM(Gemma3TextConfig(**sizes, head_dim=8, sliding_window=4, layer_types=kinds)), [0, 1, 2, 1])
    assert grown.config.layer_types == [*kinds, "full_attention"]
    assert [layer.self_attn.layer_idx for layer in grown.model.layers] == [0, 1, 2, 3]
    flags = stacked(SmolLM3ForCausalLM(SmolLM3Config(**sizes, no_rope_layers=[1, 0, 1])), [1, 1, 0]).config.no_rope_layers
    assert flags == [0, 0, 1]


@pytest.mark.parametrize(("parameters", "tokens", "expected"), [(8e9, 15e12, 6.58), (7e9, 2e12, 11.11), (13e9, 2e12, 15.84), (70e9, 2e12, 42.48)])  # fmt: skip
def test_the_fit_gives_the_paper_s_table(parameters, tokens, expected):
    assert fitted_tokens(parameters, 6 * parameters * tokens) / 1e9 == pytest.approx(expected, abs=0.01)


def test_a_plan_spends_as_much_as_scratch_and_never_extrapolates_unasked():
    plan = plan_growth(1.1e9, 100e9)
    assert plan.extrapolated == "" and plan.base_tokens == pytest.approx(fitted_tokens(1.1e9, 6.6e20))
    assert plan.base_flops + 6 * plan.parameters * plan.target_tokens == pytest.approx(plan.flops)
    with pytest.raises(ValueError, match=r"outside of the 4\.1e"):
        plan_growth(10e6, 200e6)
    clamped = plan_growth(10e6, 200e6, extrapolate=True)
    assert clamped.fitted_tokens == pytest.approx(37e9, rel=0.05) and clamped.base_tokens == 50e6 and clamped.extrapolated
    assert plan_growth(10e6, 200e6, base_tokens=20e6).target_tokens == 195e6
    for bad in ({"growth": 1}, {"growth": 17}, {"base_tokens": 8e8}):
        with pytest.raises(ValueError, match=r"growth=|base_tokens="):
            plan_growth(10e6, 200e6, **bad)


def test_a_probe_finds_the_bottom_of_its_parabolas():
    at = [1e6, 1e7, 1e8, 1e9]
    losses = [[3 + 0.1 * (math.log10(d) - bottom) ** 2 for d in at] for bottom in (7.4, 7.5, 7.6)]
    best = best_base_tokens(at, losses)
    assert best.value == pytest.approx(10**7.5)
    half = 4.302653 * 0.1 / math.sqrt(3)  # Student's t of 2 degrees of freedom; the standard deviation of the bottoms is 0.1
    assert best.high == pytest.approx(10 ** (7.5 + half), rel=1e-4) and best.low == pytest.approx(10 ** (7.5 - half), rel=1e-4)
    assert best_base_tokens(at, losses[:1]).low is None
    with pytest.raises(ValueError, match="no least value"):
        best_base_tokens(at, [[4.0, 3.0, 2.0, 1.0]])
    with pytest.raises(ValueError, match="three different"):
        best_base_tokens([1e6, 1e7], [[1.0, 2.0]])


def test_speed_up_by_hand(tmp_path):
    scratch = [(0.0, 4.0), (100.0, 3.0), (200.0, 2.0)]
    grown = [(50.0, 4.5), (100.0, 2.5), (140.0, 1.9)]
    assert cost_at(scratch, 2.5) == 150
    found = speed_up([grown], [scratch], loss=2.5)
    assert (found.value, found.low) == (pytest.approx(0.5), None)
    both = speed_up([grown, grown], [scratch, [(2 * cost, loss) for cost, loss in scratch]], loss=2.5)
    assert both.by_seed == pytest.approx([0.5, 2.0]) and both.value == pytest.approx(math.sqrt(1.5 * 3) - 1)
    assert both.low < both.value < both.high
    assert speed_up([grown], [scratch]).loss == 2.0
    with pytest.raises(ValueError, match="not crossed"):
        cost_at(scratch, 1.0)
    with pytest.raises(ValueError, match="do not pair"):
        speed_up([grown], [])
    lines = [
        {"step": 0, "held_out_loss": 4.0},
        {"trained": 10, "tokens_per_second": 5.0, "flops": 30, "tokens": 10},
        {"step": 1, "held_out_loss": 3.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert curve(tmp_path, before=7) == [(7, 4.0), (37, 3.0)]
    assert curve(tmp_path, cost="seconds") == [(0, 4.0), (2.0, 3.0)]
    with pytest.raises(ValueError, match="cost='hours'"):
        curve(tmp_path, cost="hours")
