"""Growth keeps the function: logits before and after in float64 for every size, what would change them is refused, FLM-101B's schedule."""

import copy
import functools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from metier.models.tiny import make_tiny
from metier.pretrain.progressive_growth import progressive_growth
from metier.pretrain.progressive_growth.grow import Sizes, check_same, grown
from metier.pretrain.progressive_growth.schedule import Stage, cost, plan_stages

IDS = torch.arange(5, 25)[None]


def llama(tied=True, heads=4, kv_heads=2, hidden_size=32, seed=0, **more):
    config = LlamaConfig(
        vocab_size=64, hidden_size=hidden_size, intermediate_size=48, num_hidden_layers=2, num_attention_heads=heads, num_key_value_heads=kv_heads,
        tie_word_embeddings=tied, initializer_range=0.2, head_dim=8, **more,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.3 * torch.randn_like(weight))
    return model


def difference(one, other):
    """Of logits, with norms in the dtype of the weights: transformers computes them in fp32 even for float64."""
    with torch.no_grad():
        return float((in_full(one)(IDS).logits - in_full(other)(IDS).logits).abs().max())


def in_full(model):
    for module in model.modules():
        if "RMSNorm" in type(module).__name__ and model.dtype == torch.float64:
            module.forward = functools.partial(normed, module.weight, module.variance_epsilon)
    return model


def normed(weight, epsilon, hidden):
    return weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + epsilon)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 5},
        {"intermediate": 80},
        {"heads": 16},
        {"heads": 8, "kv_heads": 2},
        {"heads": 16, "kv_heads": 4},
        {"hidden": 52},
        {"layers": 3, "hidden": 64, "intermediate": 100, "heads": 8},
    ],
)
def test_logits_stay_in_float64(sizes, tied):
    base = llama(tied, attention_bias=tied, mlp_bias=not tied)
    after = Sizes.of(base.config).grown(*(sizes.get(name) for name in ("layers", "hidden", "intermediate", "heads", "kv_heads")))
    for place in ("stack", "interleave"):
        larger = grown(base, after, place=place)
        assert difference(base, larger) < 1e-10
        assert Sizes.of(larger.config) == after


def test_all_four_in_turn_keep_the_function_and_old_weights():
    base = larger = llama()
    for sizes in ((None, None, 80, None), (None, None, None, 8), (None, 48, None, None), (4, None, None, None)):
        larger = grown(larger, Sizes.of(larger.config).grown(*sizes, None), seed=1)
        assert difference(base, larger) < 1e-10
    old, new = base.state_dict(), larger.state_dict()
    for name in ("model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.q_proj.weight"):
        rows, columns = old[name].shape
        assert torch.equal(new[name][:rows, :columns], old[name])


def test_heads_stay_in_their_groups():
    """Two groups of two heads become two of four: the old heads are 0, 1 and 4, 5 of eight."""
    base = llama()
    larger = grown(base, Sizes.of(base.config).grown(None, None, None, 8, 2))
    for layer, tall in zip(base.model.layers, larger.model.layers, strict=True):
        rows = tall.self_attn.q_proj.weight.view(8, 8, 32)
        assert torch.equal(rows[[0, 1, 4, 5]], layer.self_attn.q_proj.weight.view(4, 8, 32))
        assert not torch.equal(rows[2], torch.zeros(8, 32, dtype=rows.dtype))
        assert torch.equal(tall.self_attn.o_proj.weight.view(32, 8, 8)[:, [2, 3, 6, 7]], torch.zeros(32, 4, 8, dtype=rows.dtype))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2))
def test_any_grouping_of_heads_keeps_the_function(groups, own, more_groups, more_own):
    heads = (groups + more_groups) * (own + more_own)
    base = llama(heads=groups * own, kv_heads=groups, hidden_size=math.lcm(heads, groups * own))
    if more_groups or more_own:
        assert difference(base, grown(base, Sizes.of(base.config).grown(None, None, None, heads, groups + more_groups))) < 1e-10


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2", "gemma2"])
def test_depth_grows_in_any_decoder_and_opens_anywhere(architecture, tmp_path):
    kv_heads = 4 if architecture == "gpt2" else 2
    base = make_tiny(tmp_path / "base", hidden_size=64, kv_heads=kv_heads, architecture=architecture, std=0.2)
    made = progressive_growth(base, layers=4, place="interleave", workdir=tmp_path)
    larger = AutoModelForCausalLM.from_pretrained(made.path)
    assert difference(base.load(), larger) < 1e-4 and larger.config.num_hidden_layers == 4
    cached, plain = (larger.generate(IDS, max_new_tokens=5, do_sample=False, use_cache=use) for use in (True, False))
    assert torch.equal(cached, plain)


def test_norms_of_queries_and_keys_share_the_new_epsilon():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=8, rms_norm_eps=0.1)  # fmt: skip
    base = Qwen3ForCausalLM(config).double().eval()
    larger = grown(base, Sizes.of(config).grown(None, 80, None, 6, None))
    assert difference(base, larger) < 1e-10
    assert larger.config.rms_norm_eps == pytest.approx(0.1 * 32 / 80)


def test_new_weights_learn():
    """Zeros that write and zeros that read would keep each other at zero for ever."""
    base = llama()
    larger = grown(base, Sizes.of(base.config).grown(3, 48, 80, 8, None))
    optimizer = torch.optim.SGD(larger.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        larger(IDS, labels=IDS).loss.backward()
        optimizer.step()
    for name, weight in larger.named_parameters():
        assert weight.grad is not None and float((weight.grad == 0).double().mean()) < (0.8 if "embed" in name else 0.01), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no size is larger"),
        ({"layers": 1}, "layers=1 is smaller than the model's 2"),
        ({"hidden_size": 32}, "hidden_size=32 is smaller than the model's 64"),
        ({"hidden_size": 90}, "transformers has no llama of these sizes"),
        ({"heads": 5}, "heads=5 is no multiple of the 2 heads"),
        ({"heads": 6, "kv_heads": 4}, "can't be shared by kv_heads=4"),
        ({"heads": 4, "kv_heads": 4}, "fewer than the model's 2 heads a group"),
    ],
)
def test_bad_sizes_are_refused(settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        progressive_growth(make_tiny(tmp_path, hidden_size=64), **settings)


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("gpt2", {"intermediate_size": 400}, "no part of a Llama-like layer"),
        ("gpt2", {"hidden_size": 128}, "no rms_norm_eps"),
        ("gemma2", {"hidden_size": 128}, "scales its embedding"),
    ],
)
def test_widths_that_would_change_the_function_are_refused(architecture, settings, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        progressive_growth(make_tiny(tmp_path, hidden_size=64, kv_heads=4, architecture=architecture), **settings)


def test_a_mixture_of_experts_is_refused():
    from transformers import MixtralConfig, MixtralForCausalLM

    base = MixtralForCausalLM(MixtralConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                            num_key_value_heads=2, num_local_experts=2))  # fmt: skip
    with pytest.raises(ValueError, match="mixture of experts"):
        grown(base, Sizes.of(base.config).grown(None, 64, None, None, None))


def test_a_changed_function_is_noticed():
    base = llama()
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.model.norm.weight.mul_(1.01)
    check_same(base, copy.deepcopy(base), 0)
    with pytest.raises(ValueError, match="logits differ"):
        check_same(base, other, 0)


FLM = [
    Stage(16e9, 245.37e9, 245.37e9 / 9.63),
    Stage(51e9, 39.64e9, 39.64e9 / 5.37),
    Stage(101e9, 26.54e9, 26.54e9 / 6.54),
]


def test_the_schedule_of_flm_101b():
    found = cost(FLM)
    assert found.days == pytest.approx(21.54)
    assert found.full_days == pytest.approx(76.7, abs=0.1) and found.speed_up == pytest.approx(3.56, abs=0.01)
    assert found.flops == pytest.approx(51.8e21, rel=1e-3) and found.full_flops == pytest.approx(189e21, rel=2e-3)
    with pytest.raises(ValueError, match="more parameters"):
        cost(FLM[::-1])


def test_the_planner_finds_the_published_stages_and_refuses_what_no_schedule_can_do():
    rates = [stage.tokens_per_day for stage in FLM]
    sizes = [stage.parameters for stage in FLM]
    found = plan_stages(sizes, rates, tokens=311.55e9, days=21.54, least=26.54e9)
    assert sum(stage.tokens for stage in found) == pytest.approx(311.55e9) and cost(found).days == pytest.approx(21.54)
    middle = plan_stages(sizes, rates, tokens=311.55e9, days=100, least=39.64e9)
    assert [stage.tokens for stage in middle] == pytest.approx([39.64e9, 39.64e9, 311.55e9 - 79.28e9])
    two = plan_stages([sizes[0], sizes[2]], [rates[0], rates[2]], tokens=271.91e9, days=9.63 + 6.54, least=1e9)
    assert [stage.tokens for stage in two] == pytest.approx([245.37e9, 26.54e9])
    with pytest.raises(ValueError, match="days or more"):
        plan_stages(sizes, rates, tokens=311.55e9, days=12, least=1e9)
    with pytest.raises(ValueError, match="saves nothing"):
        plan_stages(sizes, rates[::-1], tokens=311.55e9, days=12, least=1e9)
